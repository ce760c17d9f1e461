# Scoring payments in Europe: it must answer when a whole cloud is down, its data stays in one place,
# and what has been paid for is used first. It shows reservations, quotas, spreading over clouds,
# `split = false`, and secrets by reference.

variable "scoring_replicas" {
  type    = number
  default = 4
}

# Eight A10G are reserved in Frankfurt for a year (two nodes of four GPUs): they cost nothing more.
cloud "aws" {
  regions  = ["eu-central-1", "eu-west-1"]
  discount = 0.12

  reservation {
    region        = "eu-central-1"
    instance_type = "g5.12xlarge"
    nodes         = 2
    id            = "cr-0a1b2c3d4e5f67890"
  }

  quota {
    region   = "eu-west-1"
    gpu_type = "A10G"
    max_gpus = 8
  }
}

cloud "azure" {
  regions = ["westeurope", "germanywestcentral"]

  quota {
    gpu_type = "A100-80GB"
    max_gpus = 4
  }
}

cloud "gcp" {
  regions = ["europe-west4"]
}

# By digest: what was audited is what runs.
image "scoring" {
  source = "nvcr.io/nvidia/tritonserver:25.09-py3@sha256:3c5b1b3e6a0f4d2b9d0e6a8f1c7e5d4b3a29180716253443526170899aabbccd"
}

image "features" {
  source = "redis:8.2.1"
}

model "fraud" {
  weights {
    source = "s3://acme-risk-models/fraud/2026-06/"
    size   = "3GiB"
    sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
  }

  throughput "A10G" {
    requests_per_second = 900
    latency_p95         = "18ms"
  }

  throughput "L4" {
    requests_per_second = 700
    latency_p95         = "22ms"
  }
}

service "scoring" {
  image    = image.scoring
  model    = model.fraud
  replicas = var.scoring_replicas
  port     = 8000
  command  = ["tritonserver", "--model-repository=/models"]

  env = {
    FEATURES_URL = service.features.url
    MODEL_IMAGE  = image.scoring.digest
  }

  # The token is in a Kubernetes secret that operations puts there; no plan and no state holds it.
  secret_env "BUREAU_TOKEN" {
    secret = "credit-bureau"
    key    = "token"
  }

  resources {
    gpus       = 1
    gpu_types  = ["A10G", "L4", "T4"]
    gpu_memory = "14GiB"
    cpus       = 3
    memory     = "12GiB"
  }

  # What scoring asks the features for; between clouds it is paid by the gigabyte.
  calls "features" {
    traffic = "2Mbps"
  }

  # Two clouds at least, and no cloud with more than three of four replicas.
  placement {
    markets = ["on_demand", "reserved"]

    spread {
      over      = "cloud"
      min       = 2
      max_share = 0.75
    }
  }

  health {
    path          = "/v2/health/ready"
    initial_delay = "45s"
  }
}

# Features are read and written together: all copies at one site.
service "features" {
  image    = image.features
  replicas = 3
  port     = 6379

  resources {
    cpus   = 2
    memory = "8GiB"
  }

  placement {
    clouds = [cloud.aws]
    split  = false
  }
}

# Every night the day's decisions are scored again with the candidate model.
job "backtest" {
  image    = image.scoring
  model    = model.fraud
  command  = ["python3", "/opt/backtest.py", "--days", "1"]
  nodes    = 1
  duration = "2h"
  schedule = "30 1 * * *"
  retries  = 1

  resources {
    gpus      = 1
    gpu_types = ["T4", "L4"]
    cpus      = 2
    memory    = "8GiB"
  }

  placement {
    markets = ["on_demand", "spot"]

    spot {
      max_share = 1
    }
  }
}

optimize {
  minimize = "cost"
  budget   = 15000
}

check "two_clouds" {
  assert {
    condition     = var.scoring_replicas >= 2
    error_message = "One replica cannot be on two clouds."
  }
}

output "scoring_url" {
  value = service.scoring.url
}
