"""Models: the DINOv3-shaped encoder (`vit`), the heads (`heads`) and the two together (`vitpain`)."""
