/** Cells from configurations: the seed, how often a run is saved, and the shorter budget of a trial. */
import type { RunConfig } from '../../config/run-config.ts'
import type { Cell, Rate } from '../contract.ts'
import { keyOf } from '../results/keys.ts'

/** Checkpoints in a run, so that little is lost when a study is stopped. */
const CHECKPOINTS = 4

/** Steps of which routing is written down, in a run. */
const ROUTING_LINES = 80

/** A run of the study. `config` is that of the arm, with the rate that `rate` names. */
export function cellOf(arm: string, seed: number, rate: Rate, config: RunConfig): Cell {
  const seeded = withSeed(config, seed)
  return { arm, seed, rate, config: seeded, key: keyOf(seeded) }
}

/**
 * A short run with its schedule in proportion: warm-up and decay take the same shares of the steps. It is
 * evaluated once, at its end, and its record is none of a run that has the same configuration.
 */
export function trialOf(arm: string, seed: number, config: RunConfig, steps: number): Cell {
  const { train } = config
  const warmup = Math.round((train.schedule.warmup * steps) / train.steps)
  const short = { ...train, steps, evalEvery: steps, schedule: { ...train.schedule, warmup } }
  const seeded = withSeed({ ...config, train: short }, seed)
  return { arm, seed, rate: 'trial', config: seeded, key: `${keyOf(seeded)}-trial` }
}

/** An arm's configuration at another learning rate. */
export const withRate = (config: RunConfig, learningRate: number): RunConfig => ({
  ...config,
  train: { ...config.train, schedule: { ...config.train.schedule, learningRate } },
})

function withSeed(given: RunConfig, seed: number): RunConfig {
  const { moe } = given.model
  return {
    ...given,
    // The tables of a hash router are drawn like initial parameters: with the seed.
    ...(moe?.router === 'hash' && { model: { ...given.model, moe: { ...moe, hashSeed: seed } } }),
    data: { ...given.data, order: seed },
    train: {
      ...given.train,
      seed,
      keep: 1,
      checkpointEvery: Math.ceil(given.train.steps / CHECKPOINTS),
      routingEvery: Math.ceil(given.train.steps / ROUTING_LINES),
    },
  }
}
