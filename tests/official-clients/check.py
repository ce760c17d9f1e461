#!/usr/bin/env python3
"""Drives the sandbox with each cloud's own clients, as their users would: boto3, google-cloud-container,
google-cloud-artifact-registry, azure-mgmt-*, kubectl. None of them knows that it talks to an emulator.

    tests/official-clients/check.py [--fleetform PATH] [--serve-json PATH]

It starts `fleetform sandbox serve` on a stack of its own (or uses one that is served already) and says for
each client what it did. A client that is not installed is skipped. The exit code is 0 where every
client that is there succeeded, 1 elsewhere. `requirements.txt` lists the Python packages.
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.request

STACK = """
cloud "aws" { regions = ["us-east-1"] }
cloud "gcp" { regions = ["us-central1"] }
cloud "azure" { regions = ["eastus"] }
cloud "edge" {
  kind = "kubernetes"
  node "box" {
    count  = 2
    cpus   = 8
    memory = "32GiB"
  }
}
"""


class Skip(Exception):
    """What is needed is not installed."""


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


def raises(kind, action):
    """The exception of this kind that the action must end with."""
    try:
        action()
    except kind as error:
        return error
    raise AssertionError(f"expected {kind.__name__}, got an answer")


def kubectl(server, *arguments, text=None):
    """kubectl against a server without credentials; a kubeconfig of the user's is not read."""
    if not shutil.which("kubectl"):
        raise Skip("kubectl is not installed")
    home = tempfile.gettempdir()
    command = ["kubectl", "--kubeconfig=/dev/null", f"--server={server}", "--cache-dir", f"{home}/kubectl-{os.getpid()}"]
    done = subprocess.run(command + list(arguments), input=text, capture_output=True, text=True, timeout=120)
    expect(done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


# ── AWS ──────────────────────────────────────────────────────────────────────────────────────────


def check_boto3(urls):
    try:
        import boto3
        import botocore.exceptions
    except ImportError as error:
        raise Skip("boto3 is not installed") from error
    session = boto3.Session("AKIASANDBOX", "sandbox", region_name="us-east-1")

    def client(service):
        return session.client(service, endpoint_url=urls["aws"])

    eks, iam, ec2, ecr, sts = (client(name) for name in ("eks", "iam", "ec2", "ecr", "sts"))
    patient = {"Delay": 0, "MaxAttempts": 200}
    expect(sts.get_caller_identity()["Account"].isdigit(), "the account is a number")

    def role(name, service):
        policy = {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}],
        }
        return iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(policy))["Role"]["Arn"]

    attached = {
        "check-cluster": ["AmazonEKSClusterPolicy"],
        "check-node": ["AmazonEKSWorkerNodePolicy", "AmazonEKS_CNI_Policy", "AmazonEC2ContainerRegistryReadOnly"],
    }
    roles = {
        "check-cluster": role("check-cluster", "eks.amazonaws.com"),
        "check-node": role("check-node", "ec2.amazonaws.com"),
    }
    for name, policies in attached.items():
        for policy in policies:
            iam.attach_role_policy(RoleName=name, PolicyArn=f"arn:aws:iam::aws:policy/{policy}")
    # EKS has no control planes in one zone of us-east-1.
    found = ec2.describe_subnets()["Subnets"]
    subnets = [subnet["SubnetId"] for subnet in found if subnet["AvailabilityZoneId"] != "use1-az3"]
    expect(len(subnets) >= 2, "the default network has subnets")

    wanted = {
        "name": "check",
        "roleArn": roles["check-cluster"],
        "resourcesVpcConfig": {"subnetIds": subnets},
        "tags": {"team": "check"},
    }
    made = eks.create_cluster(**wanted)["cluster"]
    expect(made["status"] == "CREATING", "a cluster begins in CREATING")
    raises(eks.exceptions.ResourceInUseException, lambda: eks.create_cluster(**wanted))
    eks.get_waiter("cluster_active").wait(name="check", WaiterConfig=patient)
    cluster = eks.describe_cluster(name="check")["cluster"]
    expect(cluster["status"] == "ACTIVE" and cluster["tags"] == {"team": "check"}, "the cluster is active")
    expect("check" in eks.list_clusters()["clusters"], "the cluster is listed")

    group = {"clusterName": "check", "nodegroupName": "pool"}
    eks.create_nodegroup(
        **group,
        nodeRole=roles["check-node"],
        subnets=subnets,
        instanceTypes=["m6i.large"],
        scalingConfig={"minSize": 1, "maxSize": 3, "desiredSize": 2},
        labels={"tier": "check"},
    )
    eks.get_waiter("nodegroup_active").wait(**group, WaiterConfig=patient)
    raises(eks.exceptions.ResourceInUseException, lambda: eks.delete_cluster(name="check"))
    update = eks.update_nodegroup_config(**group, scalingConfig={"minSize": 1, "maxSize": 4, "desiredSize": 1})
    expect(update["update"]["status"] in ("InProgress", "Successful"), "an update has a state")
    eks.get_waiter("nodegroup_active").wait(**group, WaiterConfig=patient)
    scaling = eks.describe_nodegroup(**group)["nodegroup"]["scalingConfig"]
    expect(scaling == {"minSize": 1, "maxSize": 4, "desiredSize": 1}, f"the scaling changed: {scaling}")
    check_workload(f"{urls['kubernetes']}/aws/us-east-1/check")

    repository = ecr.create_repository(repositoryName="check/app", imageTagMutability="IMMUTABLE")["repository"]
    expect(repository["repositoryUri"].endswith("/check/app"), "a repository has a URI")
    raises(ecr.exceptions.RepositoryAlreadyExistsException, lambda: ecr.create_repository(repositoryName="check/app"))
    ecr.delete_repository(repositoryName="check/app")
    raises(ecr.exceptions.RepositoryNotFoundException, lambda: ecr.describe_repositories(repositoryNames=["check/app"]))

    eks.delete_nodegroup(**group)
    eks.get_waiter("nodegroup_deleted").wait(**group, WaiterConfig=patient)
    eks.delete_cluster(name="check")
    eks.get_waiter("cluster_deleted").wait(name="check", WaiterConfig=patient)
    raises(eks.exceptions.ResourceNotFoundException, lambda: eks.describe_cluster(name="check"))
    raises(botocore.exceptions.ClientError, lambda: iam.delete_role(RoleName="check-node"))
    for name, policies in attached.items():
        for policy in policies:
            iam.detach_role_policy(RoleName=name, PolicyArn=f"arn:aws:iam::aws:policy/{policy}")
        iam.delete_role(RoleName=name)
    return f"boto3 {boto3.__version__}: EKS cluster and node group, ECR repository, IAM roles"


# ── Google Cloud ─────────────────────────────────────────────────────────────────────────────────


def check_gke(urls):
    try:
        from google.api_core import exceptions
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import container_v1
    except ImportError as error:
        raise Skip("google-cloud-container is not installed") from error
    client = container_v1.ClusterManagerClient(
        transport="rest",
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": urls["gcp"]},
    )
    location = "projects/fleetform-sandbox/locations/us-central1"
    name = f"{location}/clusters/check"

    def finish(operation):
        for _ in range(200):
            operation = client.get_operation(name=f"{location}/operations/{operation.name}")
            if operation.status == container_v1.Operation.Status.DONE:
                expect(not operation.error.message, f"the operation failed: {operation.error.message}")
                return
        raise AssertionError(f"{operation.name} does not end")

    wanted = container_v1.Cluster(
        name="check",
        resource_labels={"team": "check"},
        node_pools=[
            container_v1.NodePool(
                name="first",
                initial_node_count=1,
                config=container_v1.NodeConfig(machine_type="e2-standard-4"),
            )
        ],
    )
    finish(client.create_cluster(parent=location, cluster=wanted))
    raises(exceptions.Conflict, lambda: client.create_cluster(parent=location, cluster=wanted))
    cluster = client.get_cluster(name=name)
    expect(cluster.status == container_v1.Cluster.Status.RUNNING, "the cluster runs")
    expect(dict(cluster.resource_labels) == {"team": "check"}, "labels are kept")
    listed = client.list_clusters(parent="projects/fleetform-sandbox/locations/-").clusters
    expect("check" in [cluster.name for cluster in listed], "the cluster is listed")

    pool = container_v1.NodePool(
        name="second",
        initial_node_count=1,
        autoscaling=container_v1.NodePoolAutoscaling(enabled=True, min_node_count=1, max_node_count=3),
        config=container_v1.NodeConfig(machine_type="e2-standard-4", labels={"tier": "check"}),
    )
    finish(client.create_node_pool(parent=name, node_pool=pool))
    found = client.get_node_pool(name=f"{name}/nodePools/second")
    expect(found.autoscaling.max_node_count == 3, "autoscaling is kept")
    finish(client.set_node_pool_size(request={"name": f"{name}/nodePools/first", "node_count": 2}))
    check_workload(f"{urls['kubernetes']}/gcp/us-central1/check")
    finish(client.delete_node_pool(name=f"{name}/nodePools/second"))
    finish(client.delete_cluster(name=name))
    raises(exceptions.NotFound, lambda: client.get_cluster(name=name))
    return f"google-cloud-container {container_v1.gapic_version.__version__}: GKE cluster and node pools"


def check_artifact_registry(urls):
    try:
        from google.api_core import exceptions
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import artifactregistry_v1
    except ImportError as error:
        raise Skip("google-cloud-artifact-registry is not installed") from error
    client = artifactregistry_v1.ArtifactRegistryClient(
        transport="rest",
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": urls["gcp"]},
    )
    parent = "projects/fleetform-sandbox/locations/us-central1"
    repository = artifactregistry_v1.Repository(format_=artifactregistry_v1.Repository.Format.DOCKER)

    def create():
        return client.create_repository(parent=parent, repository=repository, repository_id="check")

    made = create().result(timeout=60)
    expect(made.name == f"{parent}/repositories/check", "the repository has its name")
    raises(exceptions.Conflict, create)
    expect(len(list(client.list_repositories(parent=parent))) == 1, "the repository is listed")
    client.delete_repository(name=made.name).result(timeout=60)
    raises(exceptions.NotFound, lambda: client.get_repository(name=made.name))
    return f"google-cloud-artifact-registry {artifactregistry_v1.gapic_version.__version__}: a repository"


# ── Azure ────────────────────────────────────────────────────────────────────────────────────────


def check_azure(urls):
    try:
        from azure.core import exceptions
        from azure.core.credentials import AccessToken
        from azure.core.pipeline.policies import SansIOHTTPPolicy
        from azure.mgmt.containerregistry import ContainerRegistryManagementClient
        from azure.mgmt.containerservice import ContainerServiceClient
        from azure.mgmt.resource.resources import ResourceManagementClient
    except ImportError as error:
        raise Skip(f"{error.name} is not installed") from error

    class Anybody:
        def get_token(self, *_scopes, **_options):
            return AccessToken("sandbox", 1 << 40)

    def client(kind):
        return kind(
            Anybody(),
            "00000000-0000-0000-0000-000000000001",
            base_url=urls["azure"],
            # Azure's clients refuse to send a token over plain HTTP; this policy sends none.
            authentication_policy=SansIOHTTPPolicy(),
            polling_interval=0,
        )

    groups = client(ResourceManagementClient).resource_groups
    containers = client(ContainerServiceClient)
    clusters, pools = containers.managed_clusters, containers.agent_pools
    registries = client(ContainerRegistryManagementClient).registries

    groups.create_or_update("check", {"location": "eastus", "tags": {"team": "check"}})
    expect(groups.check_existence("check"), "the group exists")
    wanted = {
        "location": "eastus",
        "identity": {"type": "SystemAssigned"},
        "properties": {
            "dnsPrefix": "check",
            "agentPoolProfiles": [
                {"name": "system", "mode": "System", "count": 1, "vmSize": "Standard_D4s_v5", "osType": "Linux"}
            ],
        },
    }
    missing = raises(
        exceptions.ResourceNotFoundError,
        lambda: clusters.begin_create_or_update("nowhere", "check", wanted),
    )
    expect(missing.error.code == "ResourceGroupNotFound", f"the parent is missing: {missing.error.code}")
    cluster = clusters.begin_create_or_update("check", "check", wanted).result(timeout=60)
    expect(cluster.provisioning_state == "Succeeded", "the cluster is made")
    expect([cluster.name for cluster in clusters.list()] == ["check"], "the cluster is listed")
    pool = {"properties": {"count": 1, "vmSize": "Standard_D4s_v5", "mode": "User", "nodeLabels": {"tier": "check"}}}
    pools.begin_create_or_update("check", "check", "second", pool).result(timeout=60)
    pool["properties"]["count"] = 2
    resized = pools.begin_create_or_update("check", "check", "second", pool).result(timeout=60)
    expect(resized.count == 2, "the pool grows")
    credentials = clusters.list_cluster_user_credentials("check", "check").kubeconfigs
    expect(b"apiVersion: v1" in bytes(credentials[0].value), "a kubeconfig is given")
    check_workload(f"{urls['kubernetes']}/azure/eastus/check")

    registry = {"location": "eastus", "sku": {"name": "Basic"}}
    registries.begin_create("check", "checkregistry", registry).result(timeout=60)
    expect(registries.get("check", "checkregistry").login_server.startswith("checkregistry"), "the registry answers")
    registries.begin_delete("check", "checkregistry").result(timeout=60)
    pools.begin_delete("check", "check", "second").result(timeout=60)
    clusters.begin_delete("check", "check").result(timeout=60)
    raises(exceptions.ResourceNotFoundError, lambda: clusters.get("check", "check"))
    groups.begin_delete("check").result(timeout=60)
    expect(not groups.check_existence("check"), "the group is gone")
    return "azure-mgmt-containerservice, -containerregistry, -resource: group, AKS cluster and pools, registry"


# ── Kubernetes ───────────────────────────────────────────────────────────────────────────────────

WORKLOAD = """
apiVersion: v1
kind: Namespace
metadata: { name: check }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: web, namespace: check, labels: { app: web } }
spec:
  replicas: 2
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      containers:
        - name: web
          image: nginx:1.29
          ports: [{ containerPort: 80 }]
          resources: { requests: { cpu: 100m, memory: 64Mi } }
---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: check }
spec:
  selector: { app: web }
  ports: [{ port: 80, targetPort: 80 }]
"""


def check_workload(server):
    """A deployment's life, where kubectl is installed."""
    if not shutil.which("kubectl"):
        return
    kubectl(server, "apply", "--server-side", "--field-manager=check", "-f", "-", text=WORKLOAD)
    kubectl(server, "rollout", "status", "deployment/web", "-n", "check", "--timeout=60s")
    found = json.loads(kubectl(server, "get", "deployment", "web", "-n", "check", "-o", "json"))
    expect(found["status"]["readyReplicas"] == 2, "both replicas are ready")
    expect("web" in kubectl(server, "get", "pods,services", "-n", "check"), "the table names what is there")
    kubectl(server, "scale", "deployment/web", "-n", "check", "--replicas=1")
    kubectl(server, "rollout", "status", "deployment/web", "-n", "check", "--timeout=60s")
    kubectl(server, "delete", "namespace", "check", "--timeout=60s")
    expect("check" not in kubectl(server, "get", "namespaces", "-o", "name"), "the namespace is gone")


def check_kubectl(urls):
    server = f"{urls['kubernetes']}/kubernetes/local/edge"
    version = json.loads(kubectl(server, "version", "-o", "json"))
    expect("serverVersion" in version, "the server says its version")
    nodes = json.loads(kubectl(server, "get", "nodes", "-o", "json"))["items"]
    expect(len(nodes) == 2, f"the declared nodes are there: {len(nodes)}")
    expect("deployments" in kubectl(server, "api-resources"), "discovery works")
    check_workload(server)
    return f"kubectl {version['clientVersion']['gitVersion']}: apply, rollout, get, scale, delete"


# ── The sandbox ──────────────────────────────────────────────────────────────────────────────────


def serve(binary, directory):
    """Starts the sandbox on a stack of its own; gives the process and the file with its URLs."""
    stack = pathlib.Path(directory, "stack")
    stack.mkdir()
    (stack / "main.hcl").write_text(STACK)
    process = subprocess.Popen(
        [binary, "sandbox", "serve", "-port=0", str(stack)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        for found in stack.rglob("serve.json"):
            return process, found
        time.sleep(0.05)
    process.kill()
    sys.exit(f"`{binary} sandbox serve` did not come up:\n{process.communicate()[0]}")


def census(urls):
    """Objects by collection, without those that API servers make by themselves."""
    with urllib.request.urlopen(f"{urls['kubernetes']}/_sandbox/census") as answer:
        counts = json.load(answer)
    counts.pop("kubernetes/objects", None)
    return counts


def find_binary():
    root = pathlib.Path(__file__).resolve().parents[2]
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", root / "target"))
    built = [path for profile in ("release", "debug") if (path := target / profile / "fleetform").exists()]
    if not built:
        sys.exit("fleetform is not built: run `cargo build` first, or name it with --fleetform")
    return str(max(built, key=lambda path: path.stat().st_mtime))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fleetform", help="the binary; the newest of target/ by default")
    parser.add_argument("--serve-json", help="of a sandbox that is served already, of a stack with these clouds")
    arguments = parser.parse_args()
    # Nothing here may reach a real account.
    for name in list(os.environ):
        if name.startswith(("AWS_", "AZURE_", "GOOGLE_", "CLOUDSDK_")) or name.lower().endswith("_proxy"):
            del os.environ[name]
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"

    failed = False
    with tempfile.TemporaryDirectory() as directory:
        process = None
        found = arguments.serve_json
        if not found:
            process, found = serve(arguments.fleetform or find_binary(), directory)
        urls = json.loads(pathlib.Path(found).read_text())["urls"]
        try:
            before = census(urls)
            for check in (check_kubectl, check_boto3, check_gke, check_artifact_registry, check_azure):
                started = time.monotonic()
                try:
                    print(f"ok    {check(urls)} ({time.monotonic() - started:.1f} s)", flush=True)
                except Skip as reason:
                    print(f"skip  {check.__name__}: {reason}", flush=True)
                except Exception:  # every client is tried, whatever another one met
                    failed = True
                    print(f"FAIL  {check.__name__}\n{traceback.format_exc()}", flush=True)
            after = census(urls)
            if not failed and before != after:
                failed = True
                print(f"FAIL  something is left behind: {before} before, {after} after")
        finally:
            if process:
                process.send_signal(signal.SIGINT)
                process.wait(timeout=30)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
