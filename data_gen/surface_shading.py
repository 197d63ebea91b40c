"""Shaders that write down what each sample of a picture shows of the head, for `shading` to light afterwards.

Deferred shading (Deering et al., "The triangle processor and normal vector shader", 1988). Triangles of a head are
smaller than the 4 x 4 blocks that a rasteriser shades at once, Mesa's above all: lighting while drawing lights every
visible sample some four times over.
"""

from data_gen.shadow import SHADOWS

FAR_MM = 4000.0  # depth at which 16 bits end: steps of 0.06 mm

# Frisvad, "Building an Orthonormal Basis from a 3D Unit Vector Without Normalization" (2012), as `tangents` has it.
AXES = """
void axes(vec3 n, out vec3 x, out vec3 y) {
    float a = 1.0 / max(1.0 + n.z, 1e-3), b = -n.x * n.y * a;
    x = vec3(1.0 - n.x * n.x * a, b, -n.x);
    y = vec3(b, 1.0 - n.y * n.y * a, -n.y);
}
"""

# Two values of 8 bits in one channel of 16: a buffer less to fill.
PACKING = """
float one(vec2 v) {
    v = 255.0 * clamp(v, 0.0, 1.0);
    return (floor(v.x + 0.5) * 256.0 + v.y) / 65535.0;
}
vec2 two(float v) {
    float bits = floor(v * 65535.0 + 0.5), high = floor(bits / 256.0);
    return vec2(high, bits - 256.0 * high) / 255.0;
}
"""

SURFACE_VERTEX = f"""#version 330 core
layout(location = 0) in vec3 position;   // mm, world
layout(location = 1) in vec3 normal;
layout(location = 2) in vec2 uv;
layout(location = 3) in vec4 visibility; // visibility of direction d = x + yzw . d
layout(location = 4) in vec2 wrinkle;    // how deep the two sets of expression wrinkles are here, 0..1
layout(location = 5) in vec2 frame;      // of the texture, see `tangents`
uniform mat4 world_to_clip;
uniform vec3 light_direction[3];
uniform mat4 world_to_shadow;            // to 0..1 in the shadow map
uniform sampler2DShadow shadow_map;
// perspective bends nothing within triangles so small
noperspective out vec2 v_uv;
noperspective out vec4 v_shape;
noperspective out vec4 v_light;
noperspective out vec4 v_extra;
{SHADOWS}
void main() {{
    gl_Position = world_to_clip * vec4(position, 1.0);
    v_uv = uv;
    v_shape = vec4(normal, gl_Position.w / {FAR_MM});
    vec3 seen = visibility.x + visibility.yzw * mat3(light_direction[0], light_direction[1], light_direction[2]);
    v_light = vec4(smoothstep(0.0, 1.0, seen), visibility.x + 0.6667 * dot(visibility.yzw, normal));
    v_light.x = min(v_light.x, unshadowed(position, normal));
    v_extra = vec4(wrinkle, frame);
}}
"""

SURFACE_FRAGMENT = (
    """#version 330 core
noperspective in vec2 v_uv;
noperspective in vec4 v_shape;
noperspective in vec4 v_light;
noperspective in vec4 v_extra;
layout(location = 0) out vec4 texture_sample; // u, v; packed: depths of the wrinkles; frame of the texture
layout(location = 1) out vec4 shape_sample;   // normal, halved and lifted by 0.5; depth along the optical axis
layout(location = 2) out vec4 light_sample;   // how much of key, fill and rim light gets here; how much of all around
"""
    + PACKING
    + """
void main() {
    texture_sample = vec4(v_uv, one(v_extra.xy), one(v_extra.zw));
    shape_sample = vec4((gl_FrontFacing ? 0.5 : -0.5) * v_shape.xyz + 0.5, v_shape.w);
    light_sample = v_light;
}
"""
)
