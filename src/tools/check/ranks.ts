/**
 * Whether a router of the user's own gives the same on several ranks as on one. Two properties are checked. With the same
 * shards, a training has the same bits on any number of ranks. And a rank has a part of the batch in a pass, so a choice
 * that depends on its own sequence only must not change with the number of sequences beside it.
 */
import { type RunConfig, runSchema } from '../../core/config/run-config.ts'
import type { Router } from '../../core/model/routing/contract.ts'
import { randomFor } from '../../core/random.ts'
import { floatsOf } from '../../engine/contract/arena.ts'
import type { Ranks } from '../../engine/contract/ranks.ts'
import type { Runtime } from '../../engine/contract/runtime.ts'
import { createRuntime } from '../../engine/cpu/cpu-runtime.ts'
import { ranksInProcess } from '../../engine/world/in-process/ranks.ts'
import { initialize, initialScales } from '../../train/step/store/initialize.ts'
import { parameterTensors } from '../../train/step/store/named-tensors.ts'
import { createStore, layoutOf, Trainer } from '../../train/step/trainer.ts'
import type { Check } from './check.ts'
import { inputsOf, type Layered, type Shape, trace } from './layer.ts'
import { compileProgram, numbers } from './program.ts'

const STEPS = 3
/** The sequences of a pass, of which a step has two. */
const PASS: Shape = { sequences: 4, sequence: 32 }
const HALF: Shape = { ...PASS, sequences: 2 }

/** Trains a model with a router on one rank and on two. @param config A model with one layer */
export async function checkTraining(config: Layered, runtime: Runtime): Promise<Check> {
  const run = runSchema.parse({
    data: { tokenizer: { kind: 'file', path: 'none' } },
    model: { ...config, sequence: PASS.sequence },
    train: { batch: 2 * PASS.sequences, steps: STEPS, schedule: { warmup: 0, learningRate: 0.01 } },
    parallel: { shards: 2 },
    runtime: { threads: 1 },
  })
  // Programs of a runtime share memory, and the steps of two ranks alternate.
  const second = await createRuntime({ threads: 1 })
  try {
    const alone = await trained(run, runtime, null)
    const [first, other] = ranksInProcess(2) as [Ranks, Ranks]
    const both = await Promise.all([trained(run, runtime, first), trained(run, second, other)])
    const differing = both.map((of) => alone.find((values, i) => values.bytes !== of[i]?.bytes)?.name)
    const [name] = differing.filter((each) => each !== undefined)
    return {
      name: 'a training has the same bits on one rank and on two',
      passed: name === undefined,
      found:
        name === undefined
          ? `losses, norms and ${alone.length - 2 * STEPS} parameters of ${STEPS} steps`
          : `the ${name} differs: does the router keep something from one call to the next?`,
    }
  } finally {
    await second.close()
  }
}

/** The losses and norms of a training, and its parameters in the end. */
async function trained(config: RunConfig, runtime: Runtime, ranks: Ranks | null) {
  const store = createStore(runtime, config, layoutOf(config, ranks))
  const trainer = await Trainer.compile(runtime, config, store, undefined, ranks)
  try {
    await initialize(store, 1, initialScales(config))
    const found: { readonly name: string; readonly bytes: string }[] = []
    const size = config.train.batch * config.model.sequence
    for (let step = 1; step <= STEPS; step++) {
      const random = randomFor(step, 'check')
      const ids = Int32Array.from({ length: size + 1 }, () => random.integer(config.model.vocabulary))
      const outcome = await trainer.step(step, { tokens: ids.slice(0, size), targets: ids.slice(1) })
      found.push({ name: `loss of step ${step}`, bytes: bytesOf(Float64Array.of(outcome.loss)) })
      found.push({ name: `gradient norm of step ${step}`, bytes: bytesOf(Float64Array.of(outcome.gradNorm)) })
    }
    await trainer.settle()
    const parameters = parameterTensors(store).map(({ name, range }) => {
      return { name: `parameter ${name}`, bytes: bytesOf(floatsOf(range)) }
    })
    return [...found, ...parameters]
  } finally {
    await trainer.release()
  }
}

const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array | Float64Array): string =>
  Buffer.from(buffer, byteOffset, byteLength).toString('base64')

/** Largest difference between gates: a matrix product may round otherwise with another number of rows. */
const ROUNDING = 1e-5

/** Compares choices in a pass with those of the same sequences in a pass of half as many. */
export async function checkParts(config: Layered, runtime: Runtime, sees: NonNullable<Router['sees']>): Promise<Check> {
  const name = 'choices do not depend on how many sequences a rank has in a pass'
  const trainings = [true, false].filter((training) => sees !== 'batch' && !(sees === 'batch in training' && training))
  if (trainings.length === 0)
    return {
      name,
      passed: true,
      found: `skipped: the router sees the whole pass ("${sees}"), and so a part of the batch on each rank`,
    }
  const inputs = inputsOf(config, PASS, 1)
  for (const training of trainings) {
    const choices = async (shape: Shape) => {
      const { expert_TK, gate_TK } = trace(config, shape, training, 'float32').report.choice
      const program = await compileProgram(runtime, { expert: expert_TK, gate: gate_TK })
      const tokens = shape.sequences * shape.sequence
      const part = { x: inputs.x?.slice(0, tokens * config.width), tokens: inputs.tokens?.slice(0, tokens) }
      const found = await program.run({ ...inputs, ...part } as typeof inputs)
      program.release()
      return { expert: numbers(found.expert), gate: numbers(found.gate) }
    }
    const whole = await choices(PASS)
    let half: typeof whole
    try {
      half = await choices(HALF)
    } catch (error) {
      return { name, passed: true, found: `skipped: ${error instanceof Error ? error.message : String(error)}` }
    }
    const at = half.expert.findIndex(
      (expert, i) =>
        expert !== whole.expert[i] || !(Math.abs((half.gate[i] as number) - (whole.gate[i] as number)) <= ROUNDING),
    )
    if (at >= 0) {
      const token = Math.floor(at / (config.moe.k * config.moe.prototypes))
      const found = `token ${token} has another choice in a pass of ${HALF.sequences} sequences than in one of ${PASS.sequences}: does the router use the number of rows of x_TD?`
      return { name, passed: false, found }
    }
  }
  return { name, passed: true, found: `${HALF.sequences} of ${PASS.sequences} sequences of ${PASS.sequence} tokens` }
}
