"""Shaders of the head: how light meets skin, eyes, teeth and cloth, sample by sample of what `surface_shading` wrote.

Skin is lit by a wrapped diffuse term that is wider for red than for green and blue (light that entered the skin
leaves a few millimetres away; after Jimenez et al., "Separable Subsurface Scattering", 2015, and the pre-integrated
skin of Penner & Borshukov, 2011), and by two GGX lobes for its oily film. A baked visibility (`visibility.py`) says to
first order from which directions the head's own shape hides the light; the key light's own shadow map (`shadow.py`)
adds the shadows that have an edge.
"""

from data_gen.film import FILM
from data_gen.surface_shading import AXES, FAR_MM, PACKING
from data_gen.tangents import COARSEST

COLOR_VERTEX = """#version 330 core
void main() { // one triangle over the whole picture, at the far plane
    gl_Position = vec4(4.0 * float(gl_VertexID & 1) - 1.0, 2.0 * float(gl_VertexID & 2) - 1.0, 1.0, 1.0);
}
"""

SAMPLERS = (
    "texture_samples", "shape_samples", "light_samples", "albedo_map", "surface_map", "wrinkle_map",
)  # fmt: skip

COLOR_FRAGMENT = (
    """#version 330 core
uniform sampler2D texture_samples;
uniform sampler2D shape_samples;
uniform sampler2D light_samples;
uniform sampler2D albedo_map;   // rgb: albedo in sRGB; a: roughness
uniform sampler2D surface_map;  // rg: normal in tangent space; b: subsurface scattering (1 skin, 0 none)
uniform sampler2D wrinkle_map;  // rg: slopes of the full wrinkles; b: their darkness; a: which set, 0 first, 1 second
uniform mat3 pixel_ray;         // (x, y, 1) of a sample -> mm per mm of depth
uniform float spread_mm;        // a sample's side per mm of depth
uniform vec3 eye;               // camera, mm
uniform vec3 light_direction[3];
uniform vec3 light_color[3];
uniform vec3 ambient_up;        // light from above and from below
uniform vec3 ambient_down;
uniform float exposure;
out vec4 color;
"""
    + f"const float FAR_MM = {FAR_MM}, COARSEST = {COARSEST};"
    + FILM
    + AXES
    + PACKING
    + """
const float PI = 3.14159265;

vec3 decoded(vec3 srgb) { // sRGB to linear, within 0.3 % of the range
    return srgb * (srgb * (srgb * 0.305306 + 0.682171) + 0.012523);
}

float peak(float n_h, float a2) { // GGX distribution of normals
    float d = n_h * n_h * (a2 - 1.0) + 1.0;
    return a2 / (PI * d * d);
}

// A soft box, mirrored in what is wet: what makes eyes look alive. It stands nearer to the camera than the key light,
// whose mirror image most often lies behind the upper lid.
float catchlight(vec3 mirrored, vec3 l) {
    vec3 right = normalize(vec3(l.z, 0.0, -l.x) + vec3(1e-4, 0.0, 0.0)), up = cross(l, right);
    vec2 off = abs(vec2(dot(mirrored, right), dot(mirrored, up)));
    return step(0.0, dot(mirrored, l)) * (1.0 - smoothstep(0.15, 0.21, max(off.x, off.y)));
}

// How much the upper lid shades what lies behind it: the surface a little above, as the camera sees it, is nearer.
float lid(ivec2 here, float depth) {
    float shade = 0.0, samples = 1.0 / (spread_mm * depth); // per mm
    for (int i = 1; i < 4; ++i) {
        int row = min(here.y + int(float(i) * samples + 0.5), textureSize(shape_samples, 0).y - 1);
        float above = texelFetch(shape_samples, ivec2(here.x, row), 0).w * FAR_MM;
        shade += clamp((depth - above - 0.4) * 0.8, 0.0, 1.0);
    }
    return shade / 3.0;
}

void main() {
    ivec2 here = ivec2(gl_FragCoord.xy);
    vec4 mapped = texelFetch(texture_samples, here, 0), shape = texelFetch(shape_samples, here, 0);
    vec4 lit = texelFetch(light_samples, here, 0);
    vec2 depths = two(mapped.z), frame = two(mapped.w);
    float depth = shape.w * FAR_MM;
    vec3 smooth_n = normalize(shape.xyz * 2.0 - 1.0);
    vec3 position = eye + depth * (pixel_ray * vec3(gl_FragCoord.xy, 1.0));
    vec3 to_eye = normalize(eye - position);

    float slant = clamp(dot(smooth_n, to_eye), 0.06, 1.0);
    float level = log2(spread_mm * depth * inversesqrt(slant)) + COARSEST * (1.0 - frame.y); // of a single texel
    level = max(level + log2(float(textureSize(albedo_map, 0).x)), 0.0);
    vec4 material = textureLod(albedo_map, mapped.xy, level);
    vec4 surface = textureLod(surface_map, mapped.xy, level);
    vec4 wrinkle = textureLod(wrinkle_map, mapped.xy, level);
    float furrow = mix(depths.x, depths.y, wrinkle.a);
    // shadow and a little blood gather in a furrow
    vec3 albedo = decoded(material.rgb) * exp(-furrow * wrinkle.b * vec3(0.72, 0.95, 1.0));
    float roughness = max(material.a, 0.08), skin = surface.b;
    vec2 relief = surface.rg * 2.0 - 1.0, fold = furrow * (wrinkle.rg * 2.0 - 1.0);

    vec3 x, y;
    axes(smooth_n, x, y);
    float half_tan = 4.0 * frame.x - 2.0, square = half_tan * half_tan;
    vec2 turn = vec2(1.0 - square, 2.0 * half_tan) / (1.0 + square);
    mat2x3 along = mat2x3(x * turn.x + y * turn.y, y * turn.x - x * turn.y); // u, v
    vec3 n = normalize(smooth_n + along * (relief + fold));
    // folds are wider than light spreads under the skin
    smooth_n = normalize(smooth_n + along * (0.4 * relief + 0.7 * fold));
    float facing = dot(n, to_eye), n_v = clamp(facing, 0.05, 1.0);

    float wet = (1.0 - smoothstep(0.0, 0.1, skin)) * (1.0 - smoothstep(0.22, 0.34, roughness)); // eyes alone
    lit *= 1.0 - 0.75 * wet * lid(here, depth);
    vec3 wrap = skin * vec3(0.30, 0.10, 0.05), wrapped = 1.0 / ((1.0 + wrap) * (1.0 + wrap));
    float alpha = roughness * roughness, a2 = alpha * alpha, k = 0.5 * alpha;
    float masked = 0.25 / (n_v * (1.0 - k) + k);
    vec3 diffuse = vec3(0.0), gloss = vec3(0.0);
    for (int i = 0; i < 3; ++i) {
        vec3 l = light_direction[i];
        // red light comes from deeper, so it sees a smoother surface and spreads farther past the terminator
        float sharp = dot(n, l), soft = dot(smooth_n, l);
        vec3 cosine = sharp + (soft - sharp) * skin * vec3(1.0, 0.5, 0.3);
        vec3 shadow = vec3(mix(lit[i], sqrt(lit[i]), 0.5 * skin), lit[i], lit[i]);
        diffuse += light_color[i] * shadow * clamp((cosine + wrap) * wrapped, 0.0, 1.0);

        float l_v = dot(l, to_eye), h = inversesqrt(max(2.0 + 2.0 * l_v, 1e-3)); // 1 / |l + to_eye|
        float n_l = clamp(sharp, 0.0, 1.0), n_h = clamp((sharp + facing) * h, 0.0, 1.0);
        float m = 1.0 - (1.0 + l_v) * h, m2 = m * m, fresnel = 0.028 + 0.5 * m2 * m2 * m;
        float lobes = peak(n_h, a2);
        if (i == 0) lobes = mix(lobes, peak(n_h, 0.0625 * a2), 0.15); // the oily film
        lobes *= 1.0 - wet * float(i == 0);
        gloss += light_color[i] * (lobes * masked / (n_l * (1.0 - k) + k) * fresnel * n_l * lit[i]);
    }
    vec3 mirror = 2.0 * facing * n - to_eye;
    float box = catchlight(mirror, normalize(light_direction[0] + 1.3 * to_eye));
    gloss += (light_color[0] + ambient_up) * (wet * (1.1 - 3.0 * roughness) * box * mix(0.4, 1.0, lit.x));

    float open = clamp(lit.w, 0.0, 1.0), root = sqrt(open);
    vec3 occlusion = vec3(mix(open, root * sqrt(root), skin), open, open); // creases glow red, not grey
    vec3 ambient = mix(ambient_down, ambient_up, 0.5 + 0.5 * n.y) * occlusion;
    // at grazing angles the room mirrors in the skin's film
    float grazing = 1.0 - n_v, rim = grazing * grazing;
    rim = (0.028 + rim * rim * grazing * 0.25) * (1.0 - roughness) * open * open;
    vec3 mirrored = mix(0.2 * ambient_down, ambient_up, smoothstep(-0.6, 0.6, mirror.y));
    vec3 linear = exposure * (albedo * (diffuse + ambient) + gloss + mirrored * rim);

    color = vec4(developed(linear), 1.0);
}
"""
)
