/** Checks of a balancing loss of the user's own, in a layer with a router of top-k. */
import type { MoeConfig } from '../../core/model/config/moe-config.ts'
import type { Runtime } from '../../engine/contract/runtime.ts'
import type { Check, PluginCheck } from './check.ts'
import type { Runtimes } from './check-router.ts'
import { checkDifferences, traceHeld, withoutGradient } from './differences.ts'
import { inputsOf, type Layered, layerOf, layerProgram, type Shape, trace } from './layer.ts'
import { compileProgram, numbers, type TracedProgram } from './program.ts'
import { checkRepeated, timeRatio } from './side-by-side.ts'

const SEEDS = [1, 2, 3, 4]
const SHAPE: Shape = { sequences: 3, sequence: 5 }

/** @param own Name and hash of a registered balancing loss. @throws UsageError if it returns no scalar */
export async function checkBalance(own: string, { one, two }: Runtimes): Promise<PluginCheck> {
  const checks = [await checkScalar(own, one), await checkGradients(own, one), await checkBits(own, one, two)]
  return {
    part: 'balance',
    id: own,
    checks,
    time: { over: 'the loss "switch"', ratio: await timeOverSwitch(own, two) },
  }
}

/** @param own Name and hash of a balancing loss; null: that of Switch */
const balancedLayer = (own: string | null, settings: Partial<MoeConfig> = {}, width?: number, experts?: number) =>
  layerOf(
    null,
    1,
    { balance: { form: own === null ? 'switch' : 'own', own, coefficient: 0.01 }, ...settings },
    width,
    experts,
  )

/** Settings of a router, beside top-1 in one group, that a loss may refuse. */
const variants: readonly { readonly name: string; readonly settings: Partial<MoeConfig> }[] = [
  { name: 'top-1', settings: {} },
  { name: 'k 2', settings: { k: 2 } },
  { name: 'three groups', settings: { groups: 3 } },
  { name: 'two prototypes', settings: { router: 'prototype', prototypes: 2 } },
]

async function checkScalar(own: string, runtime: Runtime): Promise<Check> {
  const name = 'the loss is a finite number'
  const refused: string[] = []
  for (const [i, variant] of variants.entries()) {
    const config = balancedLayer(own, variant.settings)
    let program: TracedProgram
    try {
      const { balance } = lossesOf(config, SHAPE, 'float32')
      program = await compileProgram(runtime, { balance })
    } catch (error) {
      if (i === 0) throw error
      refused.push(variant.name)
      continue
    }
    try {
      for (const seed of SEEDS) {
        const [loss = Number.NaN] = numbers((await program.run(inputsOf(config, SHAPE, seed))).balance)
        if (!Number.isFinite(loss)) return { name, passed: false, found: `${loss} (${variant.name})` }
      }
    } finally {
      program.release()
    }
  }
  return {
    name,
    passed: true,
    found: `${SEEDS.length} random inputs${refused.length > 0 ? `; refused: ${refused.join(', ')}` : ''}`,
  }
}

function lossesOf(config: Layered, shape: Shape, dtype: 'float32' | 'float64') {
  const { report, ...traced } = trace(config, shape, true, dtype)
  if (!report.losses) throw new Error('internal: a router without losses')
  return { ...traced, choices: report.choice.expert_TK, balance: report.losses.balance }
}

async function checkGradients(own: string, runtime: Runtime): Promise<Check> {
  const name = 'its gradient agrees with finite differences, and reaches the router'
  const shape = { sequences: 2, sequence: 3 }
  const config = balancedLayer(own)
  const { traced, inputs } = await traceHeld(runtime, inputsOf(config, shape, 1), () =>
    lossesOf(config, shape, 'float64'),
  )
  const { x_TD, parameters, choices, balance } = traced
  const ofRouter = parameters.used
    .filter(({ spec }) => spec.name.includes('.router'))
    .map(({ spec, tensor }) => ({ name: spec.name, tensor }))
  const unreached = await withoutGradient(runtime, { objective: balance, of: ofRouter, inputs })
  if (unreached.length > 0)
    return { name, passed: false, found: 'no gradient of the loss reaches the router: a count has none' }
  const of = [{ name: 'x', tensor: x_TD }, ...ofRouter]
  return checkDifferences(name, runtime, { objective: balance, of, choices, inputs })
}

async function checkBits(own: string, one: Runtime, two: Runtime): Promise<Check> {
  const shape = { sequences: 4, sequence: 32 }
  const config = balancedLayer(own, {}, 32)
  return checkRepeated(
    [one, two],
    inputsOf(config, shape, 1),
    (runtime) => layerProgram(config, shape, runtime),
    `output and gradients of a layer with ${shape.sequences * shape.sequence} tokens`,
  )
}

/** Time of a sparse layer forward and backward, over that of a layer with the loss of Switch. */
async function timeOverSwitch(own: string, runtime: Runtime): Promise<number> {
  const shape = { sequences: 8, sequence: 128 }
  const layer = async (id: string | null) => {
    const config = balancedLayer(id, {}, 128, 16)
    return { program: await layerProgram(config, shape, runtime), inputs: inputsOf(config, shape, 1) }
  }
  return timeRatio([await layer(own), await layer(null)])
}
