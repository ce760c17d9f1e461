# A recommender in two markets: for each of them retrieval on CPUs and ranking on GPUs, behind one
# gateway. It shows `for_each`, variables with types, environments, spot nodes, spreading over regions and zones, and
# autoscaling.
#
#   fleetform plan -sandbox stacks/recommender              # two markets, as declared below
#   fleetform plan -sandbox -env prod stacks/recommender    # with envs/prod.tfvars

fleetform {
  required_version = ">= 0.1, < 1.0"
}

variable "markets" {
  type = map(object({
    ranking_replicas = number
    candidates       = optional(number, 500)
  }))

  default = {
    eu = { ranking_replicas = 2 }
    us = { ranking_replicas = 3, candidates = 800 }
  }

  description = "Where the shop sells, and how much ranking each market needs."

  validation {
    condition     = alltrue([for market in values(var.markets) : market.ranking_replicas >= 1])
    error_message = "Every market ranks with one replica at least."
  }
}

variable "budget" {
  type        = number
  default     = 12000
  description = "Dollars a month."
}

locals {
  total_ranking = sum([for market in values(var.markets) : market.ranking_replicas])

  # Patterns of regions by market; every cloud calls them differently.
  regions = {
    eu = ["eu-*", "europe-*", "*europe"]
    us = ["us-*", "*us"]
  }
}

cloud "aws" {
  regions  = ["us-east-1", "eu-west-1"]
  discount = 0.08 # of the enterprise agreement

  quota {
    region   = "us-east-1"
    gpu_type = "L4"
    max_gpus = 8
  }
}

cloud "gcp" {
  regions = ["us-central1", "europe-west4"]
}

cloud "azure" {
  regions = ["eastus", "westeurope"]
}

registry "main" {
  clouds         = [cloud.aws, cloud.gcp, cloud.azure]
  immutable_tags = true
  scan_on_push   = true
  keep_images    = 20
}

image "ranking" {
  source   = "nvcr.io/nvidia/tritonserver:25.09-py3"
  registry = registry.main
}

image "retrieval" {
  source = "qdrant/qdrant:v1.15.4"
}

image "gateway" {
  source = "envoyproxy/envoy:v1.35.3"
}

service "retrieval" {
  for_each = var.markets
  image    = image.retrieval
  replicas = 2
  port     = 6333

  resources {
    cpus   = 4
    memory = "16GiB"
  }

  # One index answers while the zone of the other is down.
  placement {
    regions = lookup(local.regions, each.key, ["*"])

    spread {
      over = "zone"
      min  = 2
    }
  }

  health {
    path = "/readyz"
  }
}

service "ranking" {
  for_each = var.markets
  image    = image.ranking
  replicas = each.value.ranking_replicas
  port     = 8000
  command  = ["tritonserver", "--model-repository=/models/${each.key}"]

  env = {
    MARKET        = each.key
    CANDIDATES    = each.value.candidates
    RETRIEVAL_URL = service.retrieval[each.key].url
  }

  resources {
    gpus      = 1
    gpu_types = ["T4", "L4", "A10G"]
    cpus      = 2
    memory    = "8GiB"
  }

  # Ranking starts within a minute and keeps no state, so half of it may run on nodes that can be
  # taken away.
  placement {
    regions = lookup(local.regions, each.key, ["*"])
    markets = ["on_demand", "spot"]

    spot {
      max_share      = 0.5
      base_on_demand = 1
    }
  }
}

service "gateway" {
  image    = image.gateway
  replicas = 2
  port     = 8080

  env = {
    RANKING_URLS = jsonencode({ for market, ranking in service.ranking : market => ranking.url })
  }

  resources {
    cpus   = 1
    memory = "2GiB"
  }

  placement {
    spread {
      over = "region"
      min  = 2
    }
  }

  autoscale {
    min        = 2
    max        = 8
    target_cpu = 0.6
  }
}

optimize {
  budget       = var.budget
  move_penalty = 0.1 # moving a shard of the index is work: it should save a tenth
}

check "capacity" {
  assert {
    condition     = local.total_ranking <= 20
    error_message = "${local.total_ranking} ranking replicas are more than anybody has tested."
  }
}

output "ranking_urls" {
  value = { for market, ranking in service.ranking : market => ranking.url }
}
