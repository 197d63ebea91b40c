"""How light becomes a pixel: the end of every fragment shader that draws a picture."""

FILM = """
vec3 developed(vec3 linear) {
    // the shoulder of film: highlights roll off instead of clipping; then the sRGB curve
    vec3 above = max(linear - 0.6, 0.0);
    linear = min(linear, vec3(0.6)) + 0.4 * (1.0 - exp(-above / 0.4));
    vec3 curve = 1.055 * pow(max(linear, 1e-5), vec3(1.0 / 2.4)) - 0.055;
    return mix(12.92 * linear, curve, step(0.0031308, linear));
}
"""
