"""Shaders of the head: how light meets skin, eyes, teeth and cloth.

Skin is lit by a wrapped diffuse term that is wider for red than for green and blue (light that entered the skin
leaves a few millimetres away; after Jimenez et al., "Separable Subsurface Scattering", 2015, and the pre-integrated
skin of Penner & Borshukov, 2011), and by two GGX lobes for its oily film. Shadows come from a baked visibility: each
vertex knows to first order from which directions the head's own shape hides the light (`visibility.py`).
"""

from data_gen.film import FILM

COLOR_VERTEX = """#version 330 core
layout(location = 0) in vec3 position;   // mm, world
layout(location = 1) in vec3 normal;
layout(location = 2) in vec2 uv;
layout(location = 3) in vec4 visibility; // visibility of direction d = x + yzw . d
layout(location = 4) in vec2 wrinkle;    // how deep the two sets of expression wrinkles are here, 0..1
uniform mat4 world_to_clip;
out vec3 v_position;
out vec3 v_normal;
out vec2 v_uv;
out vec4 v_visibility;
out vec2 v_wrinkle;
void main() {
    v_position = position;
    v_normal = normal;
    v_uv = uv;
    v_visibility = visibility;
    v_wrinkle = wrinkle;
    gl_Position = world_to_clip * vec4(position, 1.0);
}
"""

COLOR_FRAGMENT = (
    """#version 330 core
in vec3 v_position;
in vec3 v_normal;
in vec2 v_uv;
in vec4 v_visibility;
in vec2 v_wrinkle;
uniform sampler2D albedo_map;   // rgb: albedo, decoded from sRGB; a: roughness
uniform sampler2D surface_map;  // rg: normal in tangent space; b: subsurface scattering (1 skin, 0 none)
uniform sampler2D wrinkle_map;  // rg: slopes of the full wrinkles; b: their darkness; a: which set, 0 first, 1 second
uniform vec3 eye;               // camera, mm
uniform vec3 light_direction[3];
uniform vec3 light_color[3];
uniform vec3 ambient_up;        // light from above and from below
uniform vec3 ambient_down;
uniform float exposure;
out vec4 color;
"""
    + FILM
    + """
const float PI = 3.14159265;

vec3 bumped(vec3 n, vec2 slope) {
    // Tangent frame from screen derivatives: the mesh needs no tangents (Schueler, "Followup: Normal Mapping Without
    // Precomputed Tangents", 2013).
    vec3 dx = dFdx(v_position), dy = dFdy(v_position);
    vec2 ux = dFdx(v_uv), uy = dFdy(v_uv);
    vec3 across = cross(dy, n), along = cross(n, dx);
    vec3 t = across * ux.x + along * uy.x, b = across * ux.y + along * uy.y;
    float scale = inversesqrt(max(max(dot(t, t), dot(b, b)), 1e-12));
    return normalize(n + (t * slope.x + b * slope.y) * scale);
}

float ggx(float n_h, float n_l, float n_v, float roughness) {
    float a2 = roughness * roughness * roughness * roughness;
    float d = n_h * n_h * (a2 - 1.0) + 1.0;
    float k = 0.5 * roughness * roughness;
    return a2 / (PI * d * d) * 0.25 / ((n_l * (1.0 - k) + k) * (n_v * (1.0 - k) + k));
}

float fresnel(float cosine) {
    float m = 1.0 - cosine;
    return 0.028 + 0.5 * m * m * m * m * m;
}

void main() {
    vec4 surface = texture(surface_map, v_uv);
    vec4 material = texture(albedo_map, v_uv);
    vec3 albedo = material.rgb;
    float roughness = max(material.a, 0.08);
    float skin = surface.b;

    vec4 wrinkle = texture(wrinkle_map, v_uv);
    float depth = mix(v_wrinkle.x, v_wrinkle.y, wrinkle.a);
    // shadow and a little blood gather in a furrow
    albedo *= exp(-depth * wrinkle.b * vec3(0.72, 0.95, 1.0));
    vec2 fold = depth * (wrinkle.rg * 2.0 - 1.0);

    vec3 smooth_n = normalize(v_normal);
    vec3 to_eye = normalize(eye - v_position);
    if (!gl_FrontFacing) smooth_n = -smooth_n;
    vec2 relief = surface.rg * 2.0 - 1.0;
    vec3 n = bumped(smooth_n, relief + fold);
    smooth_n = bumped(smooth_n, 0.4 * relief + 0.7 * fold); // folds are wider than light spreads under the skin
    float n_v = clamp(dot(n, to_eye), 0.05, 1.0);
    vec3 wrap = skin * vec3(0.30, 0.10, 0.05);

    vec3 diffuse = vec3(0.0), gloss = vec3(0.0);
    for (int i = 0; i < 3; ++i) {
        vec3 l = light_direction[i];
        float lit = smoothstep(0.0, 1.0, v_visibility.x + dot(v_visibility.yzw, l));
        // red light comes from deeper, so it sees a smoother surface and spreads farther past the terminator
        float sharp = dot(n, l), soft = dot(smooth_n, l);
        vec3 cosine = mix(vec3(sharp), vec3(soft, mix(sharp, soft, 0.5), mix(sharp, soft, 0.3)), skin);
        vec3 spread = clamp((cosine + wrap) / ((1.0 + wrap) * (1.0 + wrap)), 0.0, 1.0);
        vec3 shadow = mix(vec3(lit), vec3(sqrt(lit), lit, lit), 0.5 * skin);
        diffuse += light_color[i] * spread * shadow;

        vec3 h = normalize(l + to_eye);
        float n_l = clamp(sharp, 0.0, 1.0), n_h = clamp(dot(n, h), 0.0, 1.0);
        float lobes = mix(ggx(n_h, n_l, n_v, roughness), ggx(n_h, n_l, n_v, 0.5 * roughness), 0.15);
        gloss += light_color[i] * (lobes * fresnel(clamp(dot(l, h), 0.0, 1.0)) * n_l * lit);
    }

    float open = clamp(v_visibility.x + 0.6667 * dot(v_visibility.yzw, n), 0.0, 1.0);
    vec3 occlusion = pow(vec3(open), mix(vec3(1.0), vec3(0.75, 1.0, 1.05), skin)); // creases glow red, not grey
    vec3 ambient = mix(ambient_down, ambient_up, 0.5 + 0.5 * n.y) * occlusion;
    // at grazing angles the room mirrors in the skin's film
    float rim = (0.028 + pow(1.0 - n_v, 5.0) * 0.25) * (1.0 - roughness) * open * open;
    vec3 mirrored = mix(0.2 * ambient_down, ambient_up, smoothstep(-0.6, 0.6, reflect(-to_eye, n).y));
    vec3 linear = exposure * (albedo * (diffuse + ambient) + gloss + mirrored * rim);

    color = vec4(developed(linear), 1.0);
}
"""
)
