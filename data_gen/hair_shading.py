"""Shaders of hair: shells of strands, lit along their tangents.

Kajiya & Kay, "Rendering fur with three dimensional textures" (1989), with the two shifted highlights of Marschner et
al. (2003) as Scheuermann (2004) approximates them.
"""

from data_gen.film import FILM

HAIR_VERTEX = """#version 330 core
layout(location = 0) in vec3 position;
layout(location = 1) in vec3 normal;
layout(location = 2) in vec3 strand;   // direction from root to tip
layout(location = 3) in vec2 uv;       // around the head, along the strand
layout(location = 4) in vec2 shell;    // density below which nothing grows here; light that gets here
uniform mat4 world_to_clip;
out vec3 v_position;
out vec3 v_normal;
out vec3 v_strand;
out vec2 v_uv;
out vec2 v_shell;
void main() {
    v_position = position;
    v_normal = normal;
    v_strand = strand;
    v_uv = uv;
    v_shell = shell;
    gl_Position = world_to_clip * vec4(position, 1.0);
}
"""

HAIR_FRAGMENT = (
    """#version 330 core
in vec3 v_position;
in vec3 v_normal;
in vec3 v_strand;
in vec2 v_uv;
in vec2 v_shell;
uniform sampler2D strand_map;  // rgb: square root of the linear colour; a: square root of density
uniform vec3 eye;
uniform vec3 light_direction[3];
uniform vec3 light_color[3];
uniform vec3 ambient_up;
uniform vec3 ambient_down;
uniform float exposure;
out vec4 color;
"""
    + FILM
    + """
float highlight(vec3 t, vec3 h, float power) {
    float along = dot(t, h);
    return pow(max(1.0 - along * along, 0.0), 0.5 * power);
}

void main() {
    vec4 texel = texture(strand_map, v_uv);
    float alpha = smoothstep(v_shell.x - 0.05, v_shell.x + 0.12, texel.a * texel.a);
    if (alpha < 0.06) discard;
    vec3 albedo = texel.rgb * texel.rgb;
    float light = v_shell.y * (0.55 + 0.75 * texel.a * texel.a);
    vec3 to_eye = normalize(eye - v_position);
    vec3 n = normalize(v_normal);
    float inside = dot(n, to_eye) < 0.0 ? 0.35 : 1.0; // the far side of a curtain of hair lies in its own shade
    vec3 t = normalize(v_strand + n * (texel.a - 0.75) * 0.35);
    vec3 sum = mix(ambient_down, ambient_up, 0.5 + 0.5 * n.y) * albedo * 0.8;
    for (int i = 0; i < 3; ++i) {
        vec3 l = light_direction[i];
        float across = dot(t, l);
        float facing = smoothstep(-0.45, 0.7, dot(n, l));
        vec3 h = normalize(l + to_eye);
        vec3 gloss = (vec3(0.006) + 0.08 * albedo) * highlight(normalize(t + 0.06 * n), h, 80.0)
                   + 0.6 * sqrt(albedo) * albedo * highlight(normalize(t - 0.12 * n), h, 14.0);
        sum += light_color[i] * facing * (0.6 * albedo * sqrt(max(1.0 - across * across, 0.0)) + gloss);
    }
    color = vec4(developed(exposure * sum * light * inside), alpha);
}
"""
)
