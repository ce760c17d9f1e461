# Ten services of one kind on three clouds with negotiated prices: the smallest stack whose best
# placement can be worked out by hand.
#
# Every replica is the same size (1 GPU, 10 TB of storage, 50 Mbps), and every cloud has ten GPUs
# for us. From the rate cards, one replica costs a month:
#
#   Azure   80 + 10 × 40 + 50 × 15 = 1,230 dollars
#   AWS    100 + 10 × 50 + 50 × 20 = 1,600 dollars
#   GCP    120 + 10 × 60 + 50 × 25 = 1,970 dollars
#
# The services ask for 26 replicas together, so the cheapest placement fills Azure (10 replicas), then
# AWS (10), and puts the other six on GCP:
#
#   10 × 1,230 + 10 × 1,600 + 6 × 1,970 = 40,120 dollars a month

fleetform {
  required_version = ">= 0.1"
}

variable "gpus_per_cloud" {
  type        = number
  default     = 10
  description = "GPUs that each cloud has set aside for this stack."

  validation {
    condition     = var.gpus_per_cloud >= 0
    error_message = "A cloud cannot have fewer than no GPUs."
  }
}

# The rates of the three contracts, in dollars a month. With a rate card the nodes themselves and the
# control planes cost nothing: what is used is what is paid for.

cloud "aws" {
  regions = ["us-east-1"]

  capacity {
    gpus = var.gpus_per_cloud
  }

  rate_card {
    gpu_month          = 100
    storage_tb_month   = 50
    network_mbps_month = 20
  }
}

cloud "azure" {
  regions = ["eastus"]

  capacity {
    gpus = var.gpus_per_cloud
  }

  rate_card {
    gpu_month          = 80
    storage_tb_month   = 40
    network_mbps_month = 15
  }
}

cloud "gcp" {
  regions = ["us-central1"]

  capacity {
    gpus = var.gpus_per_cloud
  }

  rate_card {
    gpu_month          = 120
    storage_tb_month   = 60
    network_mbps_month = 25
  }
}

# Public images that serve models over HTTP.

image "vllm" {
  source = "vllm/vllm-openai:v0.11.0"
}

image "embeddings" {
  source = "ghcr.io/huggingface/text-embeddings-inference:1.8"
}

image "triton" {
  source = "nvcr.io/nvidia/tritonserver:25.09-py3"
}

# The ten services, with 1, 2, 3, 4, 1, 2, 3, 4, 2 and 4 replicas.

service "chat" {
  image    = image.vllm
  replicas = 1
  port     = 8000
  command  = ["vllm", "serve", "Qwen/Qwen3-8B"]

  resources {
    gpus    = 1
    storage = "10TB"
    network = "50Mbps"
  }
}

service "code-completion" {
  image    = image.vllm
  replicas = 2
  port     = 8000
  command  = ["vllm", "serve", "Qwen/Qwen2.5-Coder-7B"]

  resources {
    gpus    = 1
    storage = "10TB"
    network = "50Mbps"
  }
}

service "embedding" {
  image    = image.embeddings
  replicas = 3
  port     = 80

  env = {
    MODEL_ID = "BAAI/bge-m3"
  }

  resources {
    gpus    = 1
    storage = "10TB"
    network = "50Mbps"
  }
}

service "reranking" {
  image    = image.embeddings
  replicas = 4
  port     = 80

  env = {
    MODEL_ID = "BAAI/bge-reranker-v2-m3"
  }

  resources {
    gpus    = 1
    storage = "10TB"
    network = "50Mbps"
  }
}

service "translation" {
  image    = image.vllm
  replicas = 1
  port     = 8000
  command  = ["vllm", "serve", "google/madlad400-3b-mt"]

  resources {
    gpus    = 1
    storage = "10TB"
    network = "50Mbps"
  }
}

service "summarization" {
  image    = image.vllm
  replicas = 2
  port     = 8000
  command  = ["vllm", "serve", "mistralai/Mistral-7B-Instruct-v0.3"]

  resources {
    gpus    = 1
    storage = "10TB"
    network = "50Mbps"
  }
}

service "transcription" {
  image    = image.vllm
  replicas = 3
  port     = 8000
  command  = ["vllm", "serve", "openai/whisper-large-v3"]

  resources {
    gpus    = 1
    storage = "10TB"
    network = "50Mbps"
  }
}

service "image-tagging" {
  image    = image.triton
  replicas = 4
  port     = 8000
  command  = ["tritonserver", "--model-repository=/models/tagging"]

  resources {
    gpus    = 1
    storage = "10TB"
    network = "50Mbps"
  }
}

service "moderation" {
  image    = image.vllm
  replicas = 2
  port     = 8000
  command  = ["vllm", "serve", "meta-llama/Llama-Guard-3-8B"]

  resources {
    gpus    = 1
    storage = "10TB"
    network = "50Mbps"
  }
}

service "search" {
  image    = image.triton
  replicas = 4
  port     = 8000
  command  = ["tritonserver", "--model-repository=/models/search"]

  # The two models that search is made of, by their address inside the cluster.
  env = {
    EMBEDDING_URL = service.embedding.url
    RERANKING_URL = service.reranking.url
  }

  resources {
    gpus    = 1
    storage = "10TB"
    network = "50Mbps"
  }
}

optimize {
  minimize = "cost"
}

check "budget" {
  assert {
    condition     = var.gpus_per_cloud * 3 >= 26
    error_message = "The clouds together have fewer than the 26 GPUs that the services ask for."
  }
}

output "search_url" {
  value       = service.search.url
  description = "Where the search service answers, inside a cluster that runs it."
}
