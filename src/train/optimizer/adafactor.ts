/**
 * Adafactor (Shazeer and Stern 2018) without momentum: the second moment of a matrix is kept as a
 * vector of row means and one of column means (algorithm 4), so its state is negligible; that is what
 * lets a trillion parameters fit. Vectors keep the full second moment. Updates are clipped to a root
 * mean square of 1 (section 6) and β₂ grows as 1 − t^−0.8 (section 7.2); the learning rate is ours, not
 * relative to the parameter's scale, and weight decay is decoupled.
 */
import {
  add,
  divide,
  input,
  matmul,
  maximum,
  mean,
  multiply,
  reshape,
  sizeOf,
  sqrt,
  square,
  subtract,
  type Tensor,
} from '../../graph/index.ts'
import { expertName, type ParameterSpec } from '../../model/parameters.ts'
import type { Buffer, Runtime } from '../../runtime/index.ts'
import type { TrainConfig } from '../config.ts'
import type { NamedTensor, ParameterStore } from '../store.ts'
import type { Optimizer } from './contract.ts'
import { RepeatedProgram } from './repeated-program.ts'

/** Added to squared gradients: ε₁ of the paper. */
const FLOOR = 1e-30
const DECAY_EXPONENT = 0.8

/** A tensor that is updated on its own: a parameter, or one expert's matrix of a stacked one. */
interface Part {
  readonly name: string
  readonly shape: readonly number[]
  readonly decay: boolean
  readonly p: Float32Array
  readonly g: Float32Array
  readonly state: readonly NamedTensor[]
}

export async function adafactor(
  runtime: Runtime,
  store: ParameterStore,
  config: TrainConfig['optimizer'],
): Promise<Optimizer> {
  const scalar = () => new Float32Array(1)
  const settings = { scale: scalar(), beta: scalar(), rest: scalar(), rate: scalar() }
  const keep = { decayed: scalar(), whole: scalar() }

  const parts = store.specs.flatMap((spec) => partsOf(spec, store))
  // Tensors of one shape share a program.
  const byShape = new Map<string, Part[]>()
  for (const part of parts) {
    const key = part.shape.join('×')
    byShape.set(key, [...(byShape.get(key) ?? []), part])
  }
  const programs: RepeatedProgram[] = []
  for (const group of byShape.values()) {
    const { outputs, stateNames } = updateGraph((group[0] as Part).shape)
    const buffers = group.map(
      ({ p, g, decay, state }): Record<string, Buffer> => ({
        p,
        g,
        newP: p,
        keep: decay ? keep.decayed : keep.whole,
        ...settings,
        ...Object.fromEntries(
          stateNames.flatMap((name, i) => {
            const { data } = state[i] as NamedTensor
            return [
              [name, data],
              [`new ${name}`, data],
            ]
          }),
        ),
      }),
    )
    programs.push(await RepeatedProgram.compile(runtime, outputs, buffers))
  }

  return {
    async update({ step, learningRate, gradientScale }) {
      const beta = 1 - step ** -DECAY_EXPONENT
      settings.scale[0] = gradientScale
      settings.beta[0] = beta
      settings.rest[0] = 1 - beta
      settings.rate[0] = learningRate
      keep.decayed[0] = 1 - learningRate * config.weightDecay
      keep.whole[0] = 1
      for (const program of programs) await program.run()
    },
    stateTensors: () => parts.flatMap(({ state }) => state),
    profile: () => programs.flatMap((program) => program.profile()),
    release: () => {
      for (const program of programs) program.release()
    },
  }
}

function partsOf(spec: ParameterSpec, store: ParameterStore): Part[] {
  const part = (expert: number | null): Part => {
    const name = expert === null ? spec.name : expertName(spec.name, expert)
    const shape = expert === null ? spec.shape : spec.shape.slice(1)
    const state = stateShapes(shape).map(([kind, size]) => ({
      name: `${name}.${kind}`,
      shape: [size],
      data: new Float32Array(size),
    }))
    return {
      name,
      shape,
      decay: spec.decay,
      p: store.parameter(spec.name, expert),
      g: store.gradient(spec.name, expert),
      state,
    }
  }
  return spec.stacked ? Array.from({ length: spec.shape[0] as number }, (_, e) => part(e)) : [part(null)]
}

/** Names as in other Adafactor implementations. */
const stateShapes = (shape: readonly number[]): [kind: string, size: number][] =>
  shape.length === 2
    ? [
        ['exp_avg_sq_row', shape[0] as number],
        ['exp_avg_sq_col', shape[1] as number],
      ]
    : [['exp_avg_sq', sizeOf(shape)]]

function updateGraph(shape: readonly number[]) {
  const number = (name: string) => input(name, 'float32', [])
  const [scale, beta, rest, rate, keep] = [
    number('scale'),
    number('beta'),
    number('rest'),
    number('rate'),
    number('keep'),
  ]
  const [p, g] = [input('p', 'float32', shape), input('g', 'float32', shape)]
  const gradient = multiply(g, scale)
  const squared = add(square(gradient), FLOOR)
  const average = (old: Tensor, value: Tensor) => add(multiply(old, beta), multiply(value, rest))

  const stateNames = stateShapes(shape).map(([kind]) => kind)
  const old = stateShapes(shape).map(([kind, size]) => input(kind, 'float32', [size]))
  const outputs: Record<string, Tensor> = {}
  let second: Tensor
  if (shape.length === 2) {
    const [rows = 0, columns = 0] = shape
    const row = average(old[0] as Tensor, mean(squared, { axes: [1] }))
    const column = average(old[1] as Tensor, mean(squared, { axes: [0] }))
    const normalised = divide(row, mean(row))
    second = matmul(reshape(normalised, [rows, 1]), reshape(column, [1, columns]))
    outputs['new exp_avg_sq_row'] = row
    outputs['new exp_avg_sq_col'] = column
  } else {
    second = average(old[0] as Tensor, squared)
    outputs['new exp_avg_sq'] = second
  }
  const direction = divide(gradient, sqrt(second))
  const clipped = divide(direction, maximum(sqrt(mean(square(direction))), 1))
  outputs.newP = subtract(multiply(p, keep), multiply(clipped, rate))
  return { outputs, stateNames }
}
