# fleetform plan -env prod stacks/recommender
budget = 25000

markets = {
  eu = { ranking_replicas = 4 }
  us = { ranking_replicas = 6, candidates = 1000 }
}
