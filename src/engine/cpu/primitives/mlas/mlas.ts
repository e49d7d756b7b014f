/**
 * Primitives by the kernels of ONNX Runtime (MLAS), for machines without oneDNN.
 *
 * Every kind of primitive is a small model (`small-model.ts`): a product is a Gemm, whose bias is the matrix that is
 * added or the row that is subtracted. Unlike with oneDNN, factors are always float32, and results have no gaps between
 * rows.
 */
import { constant, emit, input, type Tensor } from '../../../../core/graph/tensor.ts'
import { RuntimeError } from '../../../contract/runtime.ts'
import { acquireEnvironment, type Environment } from '../../onnxruntime/environment.ts'
import { type OrtRun, ortRunAt } from '../ort-run.ts'
import {
  type Activation,
  type Batch,
  keyOf,
  type MatrixLayout,
  PrimitiveCache,
  type Primitives,
  type Product,
  type Runnable,
} from '../primitives.ts'
import { Operation, SmallModel } from './small-model.ts'

/** Free sizes in the shapes of models. Equal numbers stand for equal sizes. */
const [M, K, N, STRIDE_A, STRIDE_B, COUNT] = [-2, -3, -4, -5, -6, -7]

export class Mlas implements Primitives {
  readonly stridedResults = false
  readonly slowFarBelow = true
  readonly factorBytes = 4
  readonly packs = false
  private readonly environment: Environment
  private readonly ortRun: OrtRun
  private readonly models = new Map<string, SmallModel>()
  private readonly primitives = new PrimitiveCache()

  /** The instance belongs to the calling thread. */
  constructor() {
    this.environment = acquireEnvironment()
    this.ortRun = ortRunAt(this.environment.api.runAddress)
  }

  product(spec: Product): Runnable {
    return this.productOfPrepared(spec)
  }

  productOfPrepared(spec: Product, batch?: Batch): Runnable {
    const batchKey = batch ? `${batch.count},${batch.a},${batch.b},${batch.c}` : ''
    return this.primitives.get(`p${keyOf(spec)},${batchKey}`, () => this.createProduct(spec, batch))
  }

  prepare(from: number): number {
    return from
  }

  round(): Runnable {
    throw new RuntimeError('internal: only oneDNN rounds factors to bfloat16')
  }

  productOfPacked(): Runnable {
    throw new RuntimeError('internal: only oneDNN multiplies packed matrices')
  }

  activation(kind: Activation, count: number): Runnable {
    return this.elementwise(`a${kind}`, count, 1, ([x]) => [activations[kind](x as Tensor)])
  }

  activationGradient(kind: Activation, count: number): Runnable {
    return this.elementwise(`b${kind}`, count, 2, ([x, dy]) => {
      const [y, derivative] = withDerivative[kind](x as Tensor)
      return [y, like('Mul', dy as Tensor, derivative)]
    })
  }

  softmax(rows: number, columns: number): Runnable {
    return this.primitives.get(`s${rows},${columns}`, () => {
      const model = this.model('softmax', () => {
        const shape = [M, N]
        return [emit('Softmax', [input('0', 'float32', shape)], { shape, attributes: { axis: -1 } })]
      })
      const shape = [rows, columns]
      return new Operation(this.ortRun, model, { operands: [shape, shape], results: [1] })
    })
  }

  multiply(count: number): Runnable {
    return this.elementwise('multiply', count, 2, ([x, y]) => [like('Mul', x as Tensor, y as Tensor)])
  }

  add(count: number): Runnable {
    return this.elementwise('add', count, 2, ([x, y]) => [like('Add', x as Tensor, y as Tensor)])
  }

  private elementwise(name: string, count: number, inputs: number, build: (inputs: Tensor[]) => Tensor[]): Runnable {
    return this.primitives.get(`${name},${count}`, () => {
      const model = this.model(name, () =>
        build(Array.from({ length: inputs }, (_, i) => input(`${i}`, 'float32', [COUNT]))),
      )
      const results = model.outputs.map((_, i) => inputs + i)
      const operands = Array<number[]>(inputs + results.length).fill([count])
      return new Operation(this.ortRun, model, { operands, results })
    })
  }

  private model(key: string, build: () => readonly Tensor[]): SmallModel {
    let model = this.models.get(key)
    if (!model) {
      model = new SmallModel(this.environment, build())
      this.models.set(key, model)
    }
    return model
  }

  /** A product with the operands a, b, c, then the addend, or the row that is subtracted and the factor. */
  private createProduct(spec: Product, batch?: Batch): Operation {
    const { m, k, n, a, b, c, alpha = 1, plus, finish } = spec
    if (c !== n || spec.half) throw new RuntimeError('internal: only oneDNN writes rows with gaps, or bfloat16')
    if (typeof plus === 'number' && (plus !== n || batch))
      throw new RuntimeError('internal: only oneDNN adds rows with gaps, or to a batch of products')
    const [left, right] = [factorOf(a, m, k), factorOf(b, k, n)]
    const others = finish ? [[n], [m, n]].slice(0, finish === 'exp' ? 1 : 2) : typeof plus === 'number' ? [[m, n]] : []
    const operands = [left.shape, right.shape, [m, n], ...others]
    const count = batch?.count ?? 1
    // MLAS multiplies a single row in another loop, which rounds differently, unless the product has a factor. So the
    // product of a single row gets the factor ½, and its result is doubled.
    const single = m === 1 && !a.transposed
    const factor = single ? 0.5 : 1
    const build = (_: unknown, item: number) => {
      const first = item * operands.length
      const at = (operand: number, shape: readonly number[]) => input(`${first + operand}`, 'float32', shape)
      const factors = [left.input(first, [M, K], STRIDE_A), right.input(first + 1, [K, N], STRIDE_B)]
      if (plus === 'c') factors.push(at(2, [M, N]))
      else if (others.length > 0) factors.push(at(3, finish ? [N] : [M, N]))
      const transpose = { transA: a.transposed ? 1 : 0, transB: b.transposed ? 1 : 0 }
      const scale = { alpha: { float: alpha * factor }, beta: { float: finish ? -factor : factor } }
      const scaled = emit('Gemm', factors, { shape: [M, N], attributes: { ...transpose, ...scale } })
      const product = single ? times(scaled, 1 / factor) : scaled
      if (finish === 'exp') return like('Exp', product)
      return finish === 'times' ? like('Mul', product, at(4, [M, N])) : product
    }
    const key = [left.key, right.key, alpha, typeof plus, finish, count, single]
    const model = this.model(`product ${key}`, () => Array.from({ length: count }, build))
    const steps = batch && [batch.a, batch.b, batch.c, n, batch.c].map((elements) => 4 * elements)
    return new Operation(this.ortRun, model, {
      operands,
      results: [2],
      ...(steps && { batch: { count, steps } }),
    })
  }
}

/** A factor as an input of a model. If its rows have gaps, the model cuts them off. */
function factorOf({ stride, transposed }: MatrixLayout, rows: number, columns: number) {
  const [height, width] = transposed ? [columns, rows] : [rows, columns]
  const gaps = stride !== width
  return {
    shape: [height, stride],
    key: `${gaps ? width : ''}${transposed ? 'ᵀ' : ''}`,
    input(operand: number, sizes: readonly [rows: number, columns: number], freeStride: number): Tensor {
      const [rows, columns] = transposed ? [sizes[1], sizes[0]] : sizes
      const whole = input(`${operand}`, 'float32', [rows, gaps ? freeStride : columns])
      if (!gaps) return whole
      const bounds = [constant([0], 'int64'), constant([width], 'int64'), constant([1], 'int64')]
      return emit('Slice', [whole, ...bounds], { shape: [rows, columns] })
    },
  }
}

const like = (type: string, x: Tensor, ...others: readonly Tensor[]) => emit(type, [x, ...others], { shape: x.shape })
const times = (x: Tensor, factor: number) => like('Mul', x, constant(factor, x.dtype))
const plus = (x: Tensor, addend: number) => like('Add', x, constant(addend, x.dtype))

const activations: Readonly<Record<Activation, (x: Tensor) => Tensor>> = {
  gelu: (x) => like('Gelu', x),
  swish: (x) => like('Mul', x, like('Sigmoid', x)),
}

/** f(x) and f′(x), in as few passes over the numbers as possible. */
const withDerivative: Readonly<Record<Activation, (x: Tensor) => [y: Tensor, derivative: Tensor]>> = {
  // x·Φ(x) and Φ(x) + x·φ(x); with z = x/√2, x·φ(x) = z·exp(−z²)/√π.
  gelu: (x) => {
    const z = times(x, Math.SQRT1_2)
    const normal = plus(times(like('Erf', z), 0.5), 0.5)
    const exponent = like('Sub', constant(-Math.log(Math.PI) / 2, x.dtype), like('Mul', z, z))
    return [like('Mul', x, normal), like('Add', normal, like('Mul', z, like('Exp', exponent)))]
  },
  // y = x·s and s + y·(1 − s), with s = 1/(1 + exp(−x))
  swish: (x) => {
    const s = like('Sigmoid', x)
    const y = like('Mul', x, s)
    return [y, like('Add', s, like('Mul', y, like('Sub', constant(1, x.dtype), s)))]
  },
}
