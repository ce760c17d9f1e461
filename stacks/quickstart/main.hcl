# One model behind one service, wherever it is cheapest: a first stack to look around in.
#
#   fleetform plan -sandbox stacks/quickstart
#
# Prices are the list prices of the built-in catalog; `fleetform catalog` shows them.

variable "replicas" {
  type        = number
  default     = 2
  description = "Copies of the chat service."

  validation {
    condition     = var.replicas >= 1
    error_message = "Without a replica nobody answers: ${var.replicas} is too few."
  }
}

# Two accounts that may be used, and where. Fleetform compares what they sell.

cloud "aws" {
  regions = ["us-east-1", "us-west-2"]
}

cloud "gcp" {
  regions = ["us-central1", "us-east4"]
}

image "vllm" {
  source = "vllm/vllm-openai:v0.11.0"
}

# 8 billion parameters at two bytes each are 16 GiB: with its cache the model wants a GPU of 24 GB.
model "qwen3-8b" {
  weights {
    source = "hf://Qwen/Qwen3-8B"
    size   = "16GiB"
  }
}

service "chat" {
  image    = image.vllm
  model    = model.qwen3-8b
  replicas = var.replicas
  port     = 8000
  command  = ["vllm", "serve", "Qwen/Qwen3-8B", "--max-model-len", "16384"]

  resources {
    gpus       = 1
    gpu_types  = ["L4", "A10G", "A100"]
    gpu_memory = "22GiB"
    cpus       = 2
    memory     = "10GiB"
  }

  health {
    path          = "/health"
    initial_delay = "2m"
  }
}

optimize {
  budget = 2500 # dollars a month: a plan that costs more is refused
}

output "chat_url" {
  value       = service.chat.url
  description = "Where the service answers, inside its cluster."
}
