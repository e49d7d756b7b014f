/**
 * Primitives of oneDNN on one thread. They are created on first use and cached by shape.
 *
 * A primitive has fixed shapes and strides; its memory is passed at each run, as addresses. A run has an
 * overhead of half a microsecond, so callers may cut work finely. Memory is float32; with `bf16` math a
 * product rounds its factors to bfloat16 and still sums in float32.
 */
import { type Precision, RuntimeError } from '../../../contract/runtime.ts'
import { addressOf, keepUntilHere, Out } from '../../../native/ffi.ts'
import {
  type Activation,
  type Batch,
  type FactorType,
  keyOf,
  type MatrixLayout,
  type PackedProduct,
  PrimitiveCache,
  type Primitives,
  type Product,
  type Runnable,
} from '../primitives.ts'
import { multipliesBf16, openDnnl } from './library.ts'
import { type Api, OK, Primitive, signatures } from './primitive.ts'
import { FactorMemory, RoundedProduct } from './rounded-product.ts'

const dataTypes = { bfloat16: 2, float32: 3 } as const
/** `dnnl_BA16a64b2a`, the layout of packed matrices. */
const PACKED = 384
const INFERENCE_OR_TRAINING = 64
const BF16_MATH = 1
const IN_ORDER = 1
const CPU = 1
const ACCURATE_SOFTMAX = 0x30000
const binary = { add: 0x1fff0, multiply: 0x1fff1, subtract: 0x1fff5 } as const
const eltwise = { linear: 0x26, exp: 0x2a, swish: 0x2c, gelu: 0x31 } as const

/** Argument indices of primitives. */
const arg = { source: 1, source1: 2, target: 17, weights: 33, gradientOfSource: 129, gradientOfTarget: 145 } as const
const postOpArgument = (index: number) => (32768 * (index + 1)) | arg.source1

export class Dnnl implements Primitives {
  readonly stridedResults = true
  readonly slowFarBelow = false
  readonly packs: boolean
  private readonly api: Api
  private readonly engine: number
  private readonly stream: number
  /** Whether factors of products are rounded to bfloat16: not at all, inside oneDNN, or by us before the product. */
  private readonly rounding: 'none' | 'inside' | 'before'
  private readonly factors = new FactorMemory()
  private readonly out = new Out()
  private readonly primitives = new PrimitiveCache()
  private readonly descriptors = new Map<string, number>()

  /** The instance belongs to the calling thread. */
  constructor(path: string, math: Precision) {
    const library = openDnnl(path)
    this.api = Object.fromEntries(
      Object.entries(signatures).map(([name, parameters]) => [name, library.func(name, 'int', [...parameters])]),
    ) as unknown as Api
    this.packs = multipliesBf16(library)
    this.engine = this.make('dnnl_engine_create', CPU, 0)
    this.stream = this.make('dnnl_stream_create', this.engine, IN_ORDER)
    this.rounding = math === 'float32' ? 'none' : 'inside'
    if (math === 'bf16' && !this.roundsInside()) this.rounding = 'before'
  }

  /** Whether oneDNN applies bf16 math to float32 products. Without AMX, oneDNN 3.7 silently ignores it. */
  private roundsInside(): boolean {
    const side = 64
    const unrounded = new Float32Array(side * side).fill(1 + 2 ** -10)
    const result = new Float32Array(side * side)
    const layout = { stride: side }
    const product = this.productOf('float32', { m: side, k: side, n: side, a: layout, b: layout, c: side })
    product.run(...[unrounded, unrounded, result].map((array) => Number(addressOf(array))))
    keepUntilHere(unrounded)
    return result[0] === side
  }

  product(spec: Product): Runnable {
    const { m, k, n, a, c, plus } = spec
    // oneDNN (seen in 3.7) confuses the stride of a side of length 1 with the stride of the other side.
    const row = m === 1 && k > 1 && a.transposed && a.stride > 1
    const column = n === 1 && m > 1 && (c > 1 || (typeof plus === 'number' && plus > 1))
    if (row || column)
      throw new RuntimeError(
        `internal: no product [${m}, ${k}]·[${k}, ${n}] of a single ${row ? 'row of aᵀ' : 'column'} with gaps`,
      )
    if (this.rounding !== 'before') return this.productOf('float32', spec)
    if (a.prepared && spec.b.prepared) return this.productOf('bfloat16', spec)
    return this.primitives.get(`r${keyOf(spec)}`, () => new RoundedProduct(this, spec, this.factors))
  }

  get factorBytes(): 2 | 4 {
    return this.rounding === 'before' ? 2 : 4
  }

  prepare(from: number, to: number, rows: number, columns: number, stride = columns): number {
    if (this.factorBytes === 4) return from
    this.round(rows, columns, stride).run(from, to)
    return to
  }

  productOfPrepared(spec: Product, batch?: Batch): Runnable {
    return this.productOf(this.factorType, spec, batch)
  }

  productOfPacked({ m, k, n, c, alpha = 1 }: PackedProduct): Runnable {
    return this.primitives.get(`k${m},${k},${n},${c},${alpha}`, () => {
      const source = this.descriptor([m, k], [k, 1], 'bfloat16')
      const target = this.descriptor([m, n], [c, 1])
      const weights = this.packedDescriptor(k, n)
      const attributes = this.make('dnnl_primitive_attr_create')
      if (alpha !== 1) {
        const postOps = this.make('dnnl_post_ops_create')
        this.expect(this.api.dnnl_post_ops_append_eltwise(postOps, eltwise.linear, alpha, 0), 'post-op')
        this.expect(this.api.dnnl_primitive_attr_set_post_ops(attributes, postOps), 'post-ops')
        this.api.dnnl_post_ops_destroy(postOps)
      }
      const create = 'dnnl_matmul_primitive_desc_create'
      const description = this.make(create, this.engine, source, weights, 0, target, attributes)
      this.api.dnnl_primitive_attr_destroy(attributes)
      return this.primitive(description, [
        [arg.source, source],
        [arg.weights, weights],
        [arg.target, target],
      ])
    })
  }

  round(rows: number, columns: number, stride: number): Runnable {
    return this.primitives.get(`o${rows},${columns},${stride}`, () => {
      const from = this.descriptor([rows, columns], [stride, 1])
      const to = this.descriptor([rows, columns], [columns, 1], 'bfloat16')
      const create = 'dnnl_reorder_primitive_desc_create'
      return this.primitive(this.make(create, from, this.engine, to, this.engine, 0), [
        [arg.source, from],
        [arg.target, to],
      ])
    })
  }

  /** The type of a prepared factor. */
  get factorType(): FactorType {
    return this.rounding === 'before' ? 'bfloat16' : 'float32'
  }

  private productOf(type: FactorType, spec: Product, batch?: Batch): Runnable {
    const batchKey = batch ? `${batch.count},${batch.a},${batch.b},${batch.c}` : ''
    return this.primitives.get(`p${type},${keyOf(spec)},${batchKey}`, () => {
      const { m, k, n, a, b, c, half, alpha = 1, plus, finish } = spec
      const layout = (rows: number, columns: number, { stride, transposed }: MatrixLayout, next = 0) => {
        const [sizes, strides] = [[rows, columns], transposed ? [1, stride] : [stride, 1]]
        return [batch ? [batch.count, ...sizes] : sizes, batch ? [next, ...strides] : strides] as const
      }
      const source = this.descriptor(...layout(m, k, a, batch?.a), type)
      const weights = this.descriptor(...layout(k, n, b, batch?.b), type)
      const target = this.descriptor(...layout(m, n, { stride: c }, batch?.c), half ? 'bfloat16' : 'float32')
      const postOps = this.make('dnnl_post_ops_create')
      let count = 0
      const append = (status: number) => {
        this.expect(status, 'post-op')
        return count++
      }
      if (alpha !== 1) append(this.api.dnnl_post_ops_append_eltwise(postOps, eltwise.linear, alpha, 0))
      if (plus === 'c') append(this.api.dnnl_post_ops_append_sum(postOps, 1, 0, 0))
      const operands: (readonly [argument: number, descriptor: number])[] = []
      const combine = (operation: number, operand: number) => {
        const at = append(this.api.dnnl_post_ops_append_binary(postOps, operation, operand))
        operands.push([postOpArgument(at), operand])
      }
      if (typeof plus === 'number') combine(binary.add, this.descriptor([m, n], [plus, 1]))
      if (finish) combine(binary.subtract, this.descriptor(...layout(1, n, { stride: n }, n)))
      if (finish === 'exp') append(this.api.dnnl_post_ops_append_eltwise(postOps, eltwise.exp, 0, 0))
      else if (finish === 'times') combine(binary.multiply, target)
      const attributes = this.make('dnnl_primitive_attr_create')
      if (this.rounding === 'inside')
        this.expect(this.api.dnnl_primitive_attr_set_fpmath_mode(attributes, BF16_MATH), 'math mode')
      if (count > 0) this.expect(this.api.dnnl_primitive_attr_set_post_ops(attributes, postOps), 'post-ops')
      const create = 'dnnl_matmul_primitive_desc_create'
      const description = this.make(create, this.engine, source, weights, 0, target, attributes)
      this.api.dnnl_post_ops_destroy(postOps)
      this.api.dnnl_primitive_attr_destroy(attributes)
      return this.primitive(description, [
        [arg.source, source],
        [arg.weights, weights],
        [arg.target, target],
        ...operands,
      ])
    })
  }

  activation(kind: Activation, count: number, type: FactorType = 'float32'): Runnable {
    return this.primitives.get(`a${type}${kind}${count}`, () => {
      const data = this.descriptor([count], [1], type)
      return this.primitive(this.activationDescription(kind, data), [
        [arg.source, data],
        [arg.target, data],
      ])
    })
  }

  activationGradient(kind: Activation, count: number, type: FactorType = 'float32'): Runnable {
    return this.primitives.get(`b${type}${kind}${count}`, () => {
      const data = this.descriptor([count], [1], type)
      const forward = this.activationDescription(kind, data)
      const description = this.make(
        'dnnl_eltwise_backward_primitive_desc_create',
        this.engine,
        eltwise[kind],
        data,
        data,
        data,
        kind === 'swish' ? 1 : 0,
        0,
        forward,
        0,
      )
      const gradient = this.primitive(description, [
        [arg.source, data],
        [arg.gradientOfTarget, data],
        [arg.gradientOfSource, data],
      ])
      return {
        used: 0,
        run: (x, dy, y, dx) => {
          this.activation(kind, count, type).run(x as number, y as number)
          gradient.run(x as number, dy as number, dx as number)
        },
        destroy: () => gradient.destroy(),
      }
    })
  }

  softmax(rows: number, columns: number): Runnable {
    return this.primitives.get(`s${rows},${columns}`, () => {
      const data = this.descriptor([rows, columns], [columns, 1])
      const create = 'dnnl_softmax_forward_primitive_desc_create'
      const description = this.make(create, this.engine, INFERENCE_OR_TRAINING, ACCURATE_SOFTMAX, data, data, 1, 0)
      return this.primitive(description, [
        [arg.source, data],
        [arg.target, data],
      ])
    })
  }

  multiply(count: number, type: FactorType = 'float32'): Runnable {
    return this.binary('multiply', count, type)
  }

  add(count: number): Runnable {
    return this.binary('add', count, 'float32')
  }

  private binary(kind: keyof typeof binary, count: number, type: FactorType): Runnable {
    return this.primitives.get(`${kind}${type}${count}`, () => {
      const data = this.descriptor([count], [1], type)
      const description = this.make('dnnl_binary_primitive_desc_create', this.engine, binary[kind], data, data, data, 0)
      return this.primitive(description, [
        [arg.source, data],
        [arg.source1, data],
        [arg.target, data],
      ])
    })
  }

  private activationDescription(kind: Activation, data: number): number {
    const create = 'dnnl_eltwise_forward_primitive_desc_create'
    return this.make(
      create,
      this.engine,
      INFERENCE_OR_TRAINING,
      eltwise[kind],
      data,
      data,
      kind === 'swish' ? 1 : 0,
      0,
      0,
    )
  }

  private primitive(description: number, args: readonly (readonly [index: number, descriptor: number])[]): Primitive {
    const primitive = this.make('dnnl_primitive_create', description)
    this.api.dnnl_primitive_desc_destroy(description)
    return new Primitive(
      this.api,
      this.stream,
      primitive,
      args.map(([index, descriptor]) => [index, this.make('dnnl_memory_create', descriptor, this.engine, 0)] as const),
    )
  }

  private descriptor(sizes: readonly number[], strides: readonly number[], type: FactorType = 'float32'): number {
    return this.descriptorOnce(`${type};${sizes};${strides}`, () => {
      const [dims, steps] = [sizes, strides].map((list) => BigInt64Array.from(list, BigInt)) as [
        BigInt64Array,
        BigInt64Array,
      ]
      const [at, stepsAt] = [Number(addressOf(dims)), Number(addressOf(steps))]
      const made = this.make('dnnl_memory_desc_create_with_strides', sizes.length, at, dataTypes[type], stepsAt)
      keepUntilHere(dims, steps)
      return made
    })
  }

  private packedDescriptor(k: number, n: number): number {
    return this.descriptorOnce(`packed;${k},${n}`, () => {
      const dims = BigInt64Array.of(BigInt(k), BigInt(n))
      const at = Number(addressOf(dims))
      const made = this.make('dnnl_memory_desc_create_with_tag', 2, at, dataTypes.bfloat16, PACKED)
      keepUntilHere(dims)
      return made
    })
  }

  private descriptorOnce(key: string, make: () => number): number {
    const known = this.descriptors.get(key) ?? make()
    this.descriptors.set(key, known)
    return known
  }

  /** Calls a function that writes a handle to its first parameter. */
  private make(name: keyof typeof signatures, ...args: number[]): number {
    this.expect(this.api[name](Number(this.out.address), ...args), name)
    return Number(this.out.value)
  }

  private expect(status: number, what: string): void {
    if (status !== OK) throw new RuntimeError(`internal: oneDNN refused a ${what} (status ${status})`)
  }
}
