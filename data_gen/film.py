"""How light becomes a pixel: the end of every fragment shader that draws a picture."""

FILM = """
vec3 developed(vec3 linear) {
    // the shoulder of film: highlights roll off instead of clipping; then the sRGB curve
    vec3 above = max(linear - 0.6, 0.0);
    linear = min(linear, vec3(0.6)) + 0.4 * (1.0 - exp(-above / 0.4));
    // the sRGB curve by square roots, within half of one of 255 steps (a fit), and its straight foot
    vec3 a = sqrt(max(linear, 0.0)), b = sqrt(a), c = sqrt(b);
    vec3 curve = 0.662002687 * a + 0.684122060 * b - 0.323583601 * c - 0.0225411470 * linear;
    return mix(12.92 * linear, curve, step(0.0031308, linear));
}
"""
