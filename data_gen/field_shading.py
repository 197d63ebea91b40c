"""Shaders that turn a per-vertex field into pixels, without light or gamma."""

FIELD_VERTEX = """#version 330 core
layout(location = 0) in vec3 position;
layout(location = 1) in float value;
uniform mat4 world_to_clip;
out float v_value;
out float v_depth;
void main() {
    v_value = value;
    gl_Position = world_to_clip * vec4(position, 1.0);
    v_depth = gl_Position.w; // mm along the optical axis
}
"""

FIELD_FRAGMENT = """#version 330 core
in float v_value;
in float v_depth;
out vec4 field;
void main() { field = vec4(v_value, v_depth, 0.0, 1.0); }
"""
