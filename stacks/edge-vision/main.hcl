# Cameras in a factory: detection runs beside them, on a cluster that exists already; what is unsure
# goes to a larger model in the cloud. It shows `kind = "kubernetes"` with declared nodes, and services
# that are kept where they belong.

# Eight Jetson boards and two servers, paid for long ago. Fleetform makes no cluster here: it uses the
# one that this context of the kubeconfig reaches.
cloud "edge-shanghai" {
  kind       = "kubernetes"
  kubeconfig = "~/.kube/config"
  context    = "edge-shanghai"

  location = {
    latitude  = 31.23
    longitude = 121.47
    country   = "CN"
  }

  node "jetson" {
    count      = 8
    gpu_type   = "Orin"
    gpus       = 1
    gpu_memory = "32GiB"
    cpus       = 8
    memory     = "32GiB"
    price_hour = 0
  }

  node "server" {
    count      = 2
    cpus       = 32
    memory     = "128GiB"
    price_hour = 0
  }
}

cloud "gcp" {
  regions = ["asia-east1", "asia-southeast1"]
}

variable "lines" {
  type        = set(string)
  default     = ["assembly", "packing", "paint"]
  description = "Production lines with a camera server each."
}

image "detector" {
  source = "nvcr.io/nvidia/deepstream:7.1-triton-multiarch"
}

image "vllm" {
  source = "vllm/vllm-openai:v0.11.0"
}

image "broker" {
  source = "nats:2.12.0"
}

# One detector a line, on the boards beside the cameras.
service "detector" {
  for_each = var.lines
  image    = image.detector
  replicas = 2
  port     = 8554

  env = {
    LINE       = each.key
    BROKER_URL = service.broker.url
  }

  resources {
    gpus      = 1
    gpu_types = ["Orin"]
    cpus      = 4
    memory    = "12GiB"
  }

  placement {
    clouds = [cloud.edge-shanghai]
  }
}

service "broker" {
  image    = image.broker
  replicas = 2
  port     = 4222

  resources {
    cpus   = 2
    memory = "4GiB"
  }

  placement {
    clouds = [cloud.edge-shanghai]
    split  = false
  }
}

# Second opinions: a vision-language model on rented GPUs, spot where there is any.
service "reviewer" {
  image    = image.vllm
  replicas = 2
  port     = 8000
  command  = ["vllm", "serve", "Qwen/Qwen2.5-VL-7B-Instruct"]

  resources {
    gpus       = 1
    gpu_types  = ["L4"]
    gpu_memory = "22GiB"
    cpus       = 3
    memory     = "12GiB"
  }

  placement {
    clouds  = [cloud.gcp]
    markets = ["on_demand", "spot"]

    spot {
      base_on_demand = 1
    }
  }

  health {
    path          = "/health"
    initial_delay = "3m"
  }
}

optimize {
  budget = 2000
}

output "detectors" {
  value = [for line, detector in service.detector : "${line}: ${detector.url}"]
}
