"""What XLA is told in tests, in processes that they start too."""


def xla_flags(devices: int) -> str:
    """So many virtual devices of the CPU; and without its emitters of fused loops XLA compiles in half the time."""
    return f"--xla_force_host_platform_device_count={devices} --xla_cpu_use_fusion_emitters=false"
