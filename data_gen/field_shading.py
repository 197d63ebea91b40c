"""Shaders that turn a per-vertex field into pixels, without light or gamma; what hair is painted on is no field."""

from data_gen.hair_drawing import HAIR_VALUE

FIELD_VERTEX = """#version 330 core
layout(location = 0) in vec3 position;
layout(location = 1) in float value;
layout(location = 2) in float hairy; // > 0 where hair is painted
uniform mat4 world_to_clip;
out float v_value;
out float v_hairy;
out float v_depth;
void main() {
    v_value = value;
    v_hairy = hairy;
    gl_Position = world_to_clip * vec4(position, 1.0);
    v_depth = gl_Position.w; // mm along the optical axis
}
"""

FIELD_FRAGMENT = f"""#version 330 core
in float v_value;
in float v_hairy;
in float v_depth;
out vec4 field;
void main() {{ field = vec4(v_hairy > 0.0 ? {HAIR_VALUE} : v_value, v_depth, 0.0, 1.0); }}
"""
