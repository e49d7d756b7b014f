/**
 * Updates by a rule of the user's own (`own.ts`). Parameters whose updates are the same graph share a program, whatever
 * their names. A program reads parameter, gradient and state where the store has them, and writes to memory beside
 * them, from where the results are copied: a program may still read a parameter when it has computed its new value.
 */
import { toOnnx } from '../../../core/graph/onnx.ts'
import { sizeOf } from '../../../core/graph/shape.ts'
import { sha256 } from '../../../core/sha256.ts'
import { type ArenaRange, floatsOf } from '../../../engine/contract/arena.ts'
import type { Binding, Executable, PortMemory, Runtime } from '../../../engine/contract/runtime.ts'
import { paddedFloats } from '../store/bank.ts'
import type { NamedTensor } from '../store/named-tensors.ts'
import type { ParameterStore, Unit } from '../store/store.ts'
import type { Optimizer } from './contract.ts'
import { isUpdated, type Rule, ruleOf, unitStateFloats } from './own-rule.ts'
import { tensorUpdate, type UpdateConfig } from './tensor-update.ts'

interface UnitUpdate {
  /** Name of the tensor. */
  readonly tensor: string
  /** Factor of the learning rate. */
  readonly factor: number
  readonly binding: Binding
  /** New values, and where they belong. */
  readonly results: readonly { readonly values: Float32Array; readonly range: ArenaRange }[]
}

export async function ownUpdate(runtime: Runtime, store: ParameterStore, config: UpdateConfig): Promise<Optimizer> {
  const rule = ruleOf(config)
  const units = unitsOf(store, rule)
  const programs = await compile(runtime, rule, units)
  const scalars = { scale: new Float32Array(1), rate: new Float32Array(1), step: new Float32Array(1) }
  // All updates write to the same memory, one after the other.
  const largest = units.reduce(
    (most, { places }) =>
      Math.max(
        most,
        places.reduce((sum, { range }) => sum + paddedFloats(range.count), 0),
      ),
    0,
  )
  const memory = new Float32Array(largest)
  const updates = units.map(({ spec, gradient, places }): UnitUpdate => {
    const executable = programs.get(spec) as Executable
    let taken = 0
    const results = places.map(({ range }) => {
      const values = memory.subarray(taken, taken + range.count)
      taken += paddedFloats(range.count)
      return { values, range }
    })
    const ports: Record<string, PortMemory> = { ...scalars, gradient }
    for (const [i, { name, range }] of places.entries()) {
      ports[name] = range
      ports[`new ${name}`] = (results[i] as (typeof results)[number]).values
    }
    const used = [...executable.model.inputs, ...executable.model.outputs].map(({ name }) => name)
    const binding = executable.bind(Object.fromEntries(used.map((name) => [name, ports[name] as PortMemory])))
    return { tensor: spec.name, factor: tensorUpdate(config, spec).factor, binding, results }
  })
  const tensors = units.flatMap(({ name, places }) =>
    places
      .slice(1)
      .map((place): NamedTensor => ({ name: `${name}.${place.name}`, shape: place.shape, range: place.range })),
  )
  return {
    async update({ step, learningRate }, { isOpen, scale }, names) {
      if (!isOpen) return
      scalars.scale[0] = scale
      scalars.step[0] = step
      for (const { tensor, factor, binding, results } of updates) {
        if (names?.has(tensor) === false) continue
        scalars.rate[0] = learningRate * factor
        await binding.run()
        for (const { values, range } of results) floatsOf(range).set(values)
      }
    },
    stateTensors: () => tensors,
    programs: [...new Set(programs.values())],
  }
}

/** The experts and the other tensors that this rank updates, with the places of their parameter and of their state. */
function unitsOf(store: ParameterStore, rule: Rule) {
  return store.trainedShares().flatMap((share) => {
    const { spec } = share
    if (!isUpdated(spec)) return []
    const state = Object.entries(rule.state(spec))
    const size = unitStateFloats(rule, spec)
    const { arena, start } = store.moment(spec.name, 0)
    return store.units([share]).map(({ name, parameters, gradients, count }: Unit, i) => {
      let at = start + i * size
      const ofState = state.map(([key, shape]) => {
        const range = { arena, start: at, count: sizeOf(shape) }
        at += paddedFloats(range.count)
        return { name: `state.${key}`, shape, range }
      })
      const parameter = { name: 'parameter', shape: spec.shape, range: { arena, start: parameters, count } }
      return { spec, name, gradient: { arena, start: gradients, count }, places: [parameter, ...ofState] }
    })
  })
}

/** Compiles the updates of the parameters; equal updates are one program. */
async function compile(runtime: Runtime, rule: Rule, units: ReturnType<typeof unitsOf>) {
  const specs = [...new Set(units.map(({ spec }) => spec))]
  const compiled = new Map<string, Promise<Executable>>()
  const each = await Promise.all(
    specs.map(async (spec) => {
      const program = rule.trace(spec)
      const key = await sha256(toOnnx(program, { anonymous: true }).bytes)
      const executable = compiled.get(key) ?? runtime.compile(program)
      compiled.set(key, executable)
      return [spec, await executable] as const
    }),
  )
  return new Map(each)
}
