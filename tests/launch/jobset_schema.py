"""JSON schema of the part of a JobSet (jobset.x-k8s.io/v1alpha2) that our manifests use; anything else is refused.

Written after the API reference of JobSet. What is inside `template.spec` is a Kubernetes batch/v1 Job's `spec`, which
has a schema of its own.
"""

NAME = {"type": "string", "pattern": r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63}


def closed(required, **properties):
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


FAILURE_RULE = closed(
    ["action"],
    name={"type": "string", "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"},
    action={"enum": ["FailJobSet", "RestartJobSet", "RestartJobSetAndIgnoreMaxRestarts"]},
    onJobFailureReasons={
        "type": "array",
        "items": {
            "enum": ["BackoffLimitExceeded", "DeadlineExceeded", "FailedIndexes", "MaxFailedIndexesExceeded",
                     "PodFailurePolicy"]
        },
    },
)  # fmt: skip

JOBSET = closed(
    ["apiVersion", "kind", "metadata", "spec"],
    apiVersion={"const": "jobset.x-k8s.io/v1alpha2"},
    kind={"const": "JobSet"},
    metadata=closed(
        ["name"], name=NAME, annotations={"type": "object", "additionalProperties": {"type": "string"}}
    ),
    spec=closed(
        ["replicatedJobs"],
        network=closed([], enableDNSHostnames={"type": "boolean"}),
        failurePolicy=closed(
            [], maxRestarts={"type": "integer", "minimum": 0}, rules={"type": "array", "items": FAILURE_RULE}
        ),
        replicatedJobs={
            "type": "array",
            "minItems": 1,
            "items": closed(
                ["name", "template"],
                name=NAME,
                replicas={"type": "integer", "minimum": 1},
                template=closed(["spec"], spec={"type": "object"}),
            ),
        },
    ),
)  # fmt: skip
