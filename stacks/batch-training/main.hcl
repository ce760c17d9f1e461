# Training and evaluation on H100s: gangs of whole nodes for some hours, one of them every week. It
# shows jobs, reservations, quotas by GPU type, templates and heredocs.

variable "run" {
  type        = string
  default     = "2026-06"
  description = "Names the run: checkpoints and reports go below it."

  validation {
    condition     = can(regex("^[0-9]{4}-[0-9]{2}$", var.run))
    error_message = "A run is named by year and month, like 2026-06, not ${var.run}."
  }
}

locals {
  bucket = "s3://acme-training/${var.run}"

  datasets = {
    code    = 1.5
    math    = 1
    science = 0.5
  }

  # What the trainer reads: one line a dataset, with its weight.
  mixture = <<-EOT
    %{for name, weight in local.datasets~}
    ${format("%-8s %.2f", name, weight)}
    %{endfor~}
  EOT
}

# Sixteen H100 are reserved in Virginia until the end of the year.
cloud "aws" {
  regions = ["us-east-1", "us-east-2"]

  reservation {
    region        = "us-east-1"
    instance_type = "p5.48xlarge"
    nodes         = 2
    id            = "cr-0f9e8d7c6b5a43210"
  }

  quota {
    gpu_type = "H100"
    max_gpus = 32
  }
}

cloud "gcp" {
  regions = ["us-central1", "us-east4"]

  quota {
    gpu_type = "H100"
    max_gpus = 16
  }
}

image "trainer" {
  source = "nvcr.io/nvidia/pytorch:25.09-py3"
}

model "base" {
  weights {
    source = "s3://acme-weights/base-13b/"
    size   = "26GiB"
  }
}

# The weekly fine-tuning: two whole nodes of eight GPUs, side by side in one region.
job "finetune" {
  image    = image.trainer
  model    = model.base
  nodes    = 2
  duration = "36h"
  schedule = "0 20 * * FRI"
  retries  = 2
  command  = ["torchrun", "--nproc-per-node=8", "/workspace/train.py"]

  env = {
    MIXTURE     = local.mixture
    CHECKPOINTS = "${local.bucket}/checkpoints"
  }

  secret_env "WANDB_API_KEY" {
    secret = "wandb"
    key    = "api-key"
  }

  resources {
    gpus      = 8
    gpu_types = ["H100"]
    cpus      = 160
    memory    = "1200GiB"
  }

  placement {
    markets = ["on_demand", "reserved"]
    split   = false
  }
}

# One evaluation a dataset. They start over when a spot node goes, and that is fine.
job "evaluate" {
  for_each = local.datasets
  image    = image.trainer
  nodes    = 1
  duration = "3h"
  retries  = 5
  command  = ["python3", "/workspace/evaluate.py", "--dataset", each.key]

  env = {
    REPORT = "${local.bucket}/reports/${each.key}.json"
    WEIGHT = each.value
  }

  resources {
    gpus      = 1
    gpu_types = ["A100", "A100-80GB", "H100"]
    cpus      = 8
    memory    = "64GiB"
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
}

output "reports" {
  value = { for name, weight in local.datasets : name => "${local.bucket}/reports/${name}.json" }
}
