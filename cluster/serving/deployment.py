"""The HTTP application as a deployment of Ray Serve."""

import logging
from typing import Any

from cluster.serving.actors import service_of
from cluster.serving.api_keys import ApiKeys
from cluster.serving.app import application
from cluster.serving.gate import Gate
from cluster.serving.limits import Limits
from cluster.settings import RunSettings

APP = "relook"
SPARE = 64
"""Requests beyond running and waiting ones that reach the application, so that it can refuse them itself."""


def deploy(
    settings: RunSettings, *, namespace: str, name: str, limits: Limits, keys: ApiKeys, host: str, port: int
) -> None:
    """Starts Ray Serve on this address and deploys the application; blocks until it answers.

    `namespace` has the actors, `name` is the model's. There is one replica, because rates and the queue are counted in
    it: it only passes requests on. Raises RuntimeError when the deployment fails.
    """
    from ray import serve

    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    quiet = {"log_level": "WARNING", "enable_access_log": False}
    serve.start(proxy_location="HeadOnly", http_options={"host": host, "port": port}, logging_config=quiet)

    def build() -> Gate:
        """Builds the application in the replica's process; Ray Serve takes functions without parameters only."""
        return application(service_of(settings, namespace, name), limits=limits, keys=keys, host=host)

    replica: Any = serve.ingress(build)()
    deployment = serve.deployment(
        replica,
        name=APP,
        num_replicas=1,
        max_ongoing_requests=limits.running + limits.waiting + SPARE,
        ray_actor_options={"num_cpus": settings.cluster.small_cpus},
        health_check_period_s=5,
        graceful_shutdown_timeout_s=10,
        logging_config=quiet,
    )
    serve.run(deployment.bind(), name=APP, route_prefix="/")


def retire() -> None:
    """Removes the application from Ray Serve."""
    from ray import serve

    serve.delete(APP)
