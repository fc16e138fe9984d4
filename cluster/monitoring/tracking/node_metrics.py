"""System metrics of the driver's node, under the names that MLflow's system charts show."""

from pathlib import Path


def node_metrics(folder: Path) -> dict[str, float]:
    """Processor use since the last call, memory and network of this machine, and use of the disk of `folder`.

    MLflow's own monitor ends at the first failed request; these values are delivered with each step instead.
    """
    import psutil

    memory, disk, network = psutil.virtual_memory(), psutil.disk_usage(str(folder)), psutil.net_io_counters()
    return {
        "system/cpu_utilization_percentage": psutil.cpu_percent(interval=None),
        "system/system_memory_usage_megabytes": memory.used / 1e6,
        "system/system_memory_usage_percentage": memory.percent,
        "system/disk_usage_percentage": disk.percent,
        "system/disk_available_megabytes": disk.free / 1e6,
        "system/network_receive_megabytes": network.bytes_recv / 1e6,
        "system/network_transmit_megabytes": network.bytes_sent / 1e6,
    }
