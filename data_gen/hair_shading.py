"""Shaders of hair: ribbons of strands that face the camera, lit along their tangents.

Kajiya & Kay, "Rendering fur with three dimensional textures" (1989), with the two shifted highlights of Marschner et
al. (2003) as Scheuermann (2004) approximates them. Light is summed at the nodes, of which there are fewer than pixels.
"""

from data_gen.film import FILM
from data_gen.shadow import SHADOWS

RIBBON = """#version 330 core
layout(location = 0) in vec3 center;    // of the wisp, mm
layout(location = 1) in vec3 normal;    // of the body of hair
layout(location = 2) in vec3 strand;    // direction from root to tip
layout(location = 3) in vec4 ribbon;    // texture u and v; half the width, signed; light that gets here
layout(location = 4) in vec2 look;      // factors of the colour and of what the strands mirror
uniform mat4 world_to_clip;
uniform vec3 eye;

vec4 edge(vec3 to_eye) { // where an edge of the ribbon appears
    vec3 flat_side = normalize(cross(strand, normal) + 1e-5);
    vec3 facing_side = cross(strand, to_eye);
    facing_side *= sign(dot(facing_side, flat_side)) / max(length(facing_side), 0.3);
    vec3 side = normalize(mix(flat_side, facing_side, 0.6));
    return world_to_clip * vec4(center + side * ribbon.z + to_eye * 1.2, 1.0); // clear of the scalp
}
"""

OPACITY = """
uniform sampler2D strand_map; // rgb: square root of the linear colour; a: opacity
float opacity(vec4 texel) { return min(1.15 * texel.a, 1.0); }
"""

NUMBER_VERTEX = (
    RIBBON
    + """
out vec2 v_uv;
void main() {
    v_uv = ribbon.xy;
    gl_Position = edge(normalize(eye - center));
}
"""
)

NUMBER_FRAGMENT = (
    """#version 330 core
in vec2 v_uv;
uniform float dense; // what is less opaque than this is not there
out float number;    // of the triangle, from 1
"""
    + OPACITY
    + """
void main() {
    if (opacity(texture(strand_map, v_uv)) < dense) discard;
    number = float(gl_PrimitiveID + 1);
}
"""
)

FIELD_VERTEX = (
    RIBBON
    + """
out float v_depth;
void main() {
    gl_Position = edge(normalize(eye - center));
    v_depth = gl_Position.w;
}
"""
)

FIELD_FRAGMENT = """#version 330 core
in float v_depth;
uniform float value; // of hair
out vec2 field;
void main() { field = vec2(value, v_depth); }
"""

HAIR_VERTEX = (
    RIBBON
    + """
uniform vec3 light_direction[3];
uniform vec3 light_color[3];
uniform vec3 ambient_up;
uniform vec3 ambient_down;
uniform float exposure;
uniform mat4 world_to_shadow; // to 0..1 in the shadow map of the first light
uniform sampler2DShadow shadow_map;
out vec2 v_uv;
out vec3 v_diffuse;  // times the colour of the hair
out vec3 v_gloss;    // mirrored at the surface of the strands
out vec3 v_glow;     // that went through them: times their colour, once more
"""
    + SHADOWS
    + """
float highlight(vec3 t, vec3 h, float power) {
    float along = dot(t, h);
    return pow(max(1.0 - along * along, 0.0), 0.5 * power);
}

void main() {
    vec3 to_eye = normalize(eye - center);
    vec3 n = normal;
    vec3 sum = mix(ambient_down, ambient_up, 0.5 + 0.5 * n.y) * 0.9;
    vec3 gloss = vec3(0.0), glow = vec3(0.0);
    float inside = dot(n, to_eye) < 0.0 ? 0.6 : 1.0; // the far side of a curtain of hair lies in its own shade
    float key = let_through(center);
    for (int i = 0; i < 3; ++i) {
        vec3 l = light_direction[i];
        float across = dot(strand, l);
        float lit = smoothstep(-0.5, 0.8, dot(n, l));
        vec3 h = normalize(l + to_eye);
        vec3 light = light_color[i] * lit * (i == 0 ? key : 1.0);
        sum += light * (0.35 + 0.75 * max(dot(n, l), 0.0)) * 0.8 * sqrt(max(1.0 - across * across, 0.0));
        gloss += light * 0.055 * highlight(normalize(strand - 0.10 * n), h, 60.0);
        glow += light * 0.75 * highlight(normalize(strand + 0.18 * n), h, 12.0);
    }
    float root = mix(0.55, 1.0, smoothstep(0.0, 0.30, ribbon.y));
    float shade = ribbon.w * root * inside * exposure;
    v_diffuse = sum * shade * look.x;
    v_gloss = gloss * shade * shade * look.y;
    v_glow = glow * shade * look.x;
    v_uv = ribbon.xy;
    gl_Position = edge(to_eye);
}
"""
)

HAIR_FRAGMENT = (
    """#version 330 core
in vec2 v_uv;
in vec3 v_diffuse;
in vec3 v_gloss;
in vec3 v_glow;
uniform float dense; // > 0: only what is more opaque than this, drawn as fully opaque
out vec4 color;
"""
    + FILM
    + OPACITY
    + """
void main() {
    vec4 texel = texture(strand_map, v_uv);
    float alpha = opacity(texel);
    if (alpha < max(dense, 0.02)) discard;
    if (dense > 0.0) alpha = 1.0;
    vec3 albedo = texel.rgb * texel.rgb;
    color = vec4(developed(albedo * v_diffuse + v_gloss + albedo * texel.rgb * v_glow), alpha);
}
"""
)
