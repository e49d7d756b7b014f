/** Makes cells of configurations: sets the seed, the intervals of saving, and the shorter budget of a trial. */
import type { RunConfig } from '../../config/run-config.ts'
import type { Cell, Rate } from '../contract.ts'
import { keyOf } from '../results/keys.ts'

/** Checkpoints of a run, so that little is lost when a study is stopped. */
const CHECKPOINTS = 4

/** Steps of a run at which routing is recorded. */
const ROUTING_LINES = 80

/** A run of the study. @param config Of the arm, at the learning rate that `rate` names. */
export function cellOf(arm: string, seed: number, rate: Rate, config: RunConfig): Cell {
  const seeded = withSeed(config, seed)
  return { arm, seed, rate, config: seeded, key: keyOf(seeded) }
}

/**
 * A short run with its schedule in proportion: warm-up and decay take the same shares of the steps. It is
 * evaluated once, at the end. Its key differs from that of a run with the same configuration.
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
    // The tables of a hash router depend on the seed, as initial parameters do.
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
