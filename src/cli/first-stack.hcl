# A first stack: one service that answers from a language model, on the cheapest fitting GPU.
#
#   fleetform plan               what it would make, and what it costs
#   fleetform apply -sandbox     make it on the embedded clouds: no account is needed

cloud "aws" {
  regions = ["us-east-1", "us-west-2"]
}

cloud "gcp" {
  regions = ["us-central1"]
}

variable "replicas" {
  type        = number
  default     = 2
  description = "Replicas of the chat service"

  validation {
    condition     = var.replicas > 0
    error_message = "At least one replica must run."
  }
}

image "chat" {
  source = "vllm/vllm-openai:v0.10.2"
}

service "chat" {
  image    = image.chat
  replicas = var.replicas
  port     = 8000

  resources {
    gpus       = 1
    gpu_memory = "22GiB"
    cpus       = 3
    memory     = "12GiB"
  }

  placement {
    markets = ["on_demand", "spot"]

    spot {
      max_share = 0.5
    }
  }

  health {
    path          = "/health"
    initial_delay = "60s"
  }
}

output "url" {
  value = service.chat.url
}
