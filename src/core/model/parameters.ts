/**
 * The parameters of a model: their specifications, which follow from the configuration, and the interface
 * through which model code reads them while it is traced.
 *
 * Tensors of experts are *stacked*: one specification [N, ...] has all experts of a layer. A batched matmul
 * reads it whole, a matmul per expert reads N views. Each view has its own name, with the index of the expert.
 */
import type { DType, Shape } from '../graph/model.ts'
import type { QuantizedMatrix } from '../graph/ops/quantized.ts'
import { input, type Tensor } from '../graph/tensor.ts'
import { isPlaced } from './config/layer-config.ts'
import { moduleName, modulesWith, type RoutedModule } from './config/moe-config.ts'
import { attentionColumns, headWidthOf, type ModelConfig } from './config.ts'
import { ffnParameters } from './ffn.ts'
import { layerParameters } from './own/layer.ts'
import { routerParameters } from './routing/routers.ts'

/** The role of a matrix decides its initial values. A `branch` writes to the residual stream. */
export type MatrixRole = 'embedding' | 'positions' | 'matrix' | 'branch' | 'router' | 'head'

export interface ParameterSpec {
  /** `{e}` in the name of a stacked tensor is the index of the expert. */
  readonly name: string
  readonly shape: Shape
  /** Initial values: ones, zeros, or a truncated normal whose standard deviation follows from role and fan-in. */
  readonly init: 'ones' | 'zeros' | { readonly fanIn: number; readonly role: MatrixRole }
  /** Whether weight decay applies: to matrices, but not to norms, routers, biases and embeddings. */
  readonly decay: boolean
  /** Whether the first dimension is the expert. */
  readonly stacked: boolean
  /** Whether a training leaves it as it is: no gradient, no optimizer state. Set by `withFrozen`. */
  readonly frozen?: boolean
}

/** Name of the tensor of one expert in a stacked specification. */
export const expertName = (name: string, expert: number): string => name.replace('{e}', String(expert))

/** Whether layer `index` (from 0) is sparse. */
export const isSparse = ({ moe }: ModelConfig, index: number): boolean => moe !== null && isPlaced(moe, index)

/**
 * Whether layer `index` (from 0) has the user's own layer in place of a feed-forward network. Results of studies of earlier
 * versions have configurations without this field.
 */
export const isOwnLayer = ({ layer = null }: Pick<Partial<ModelConfig>, 'layer'>, index: number): boolean =>
  layer !== null && isPlaced(layer, index)

/** Prefix of the names of the parameters of the user's own layer. */
export const ownLayerName = (index: number): string => `layers.${index}.own`

/** The routed modules of a layer, in order of computation; empty for a dense layer. */
export const routedModules = (config: ModelConfig, layer: number): readonly RoutedModule[] =>
  config.moe && isSparse(config, layer) ? modulesWith[config.moe.attention] : []

/** Number of columns that a routed module reads, and number that it writes. */
export function moduleWidths(
  config: ModelConfig,
  module: RoutedModule,
): { readonly inputs: number; readonly outputs: number } {
  const { queries, keys } = attentionColumns(config)
  if (module === 'qkv') return { inputs: config.width, outputs: queries + 2 * keys }
  return { inputs: module === 'output' ? queries : config.width, outputs: config.width }
}

/** Name of the matrix [D, 1] of the shared expert's gate, for a module named `module`. */
export const sharedMix = (module: string): string => `${module}.shared.mix`

/** Every parameter of the model, in memory order. */
export function parameterSpecs(config: ModelConfig): ParameterSpec[] {
  const { vocabulary, width, layers, sequence, moe } = config
  const matrix = (name: string, shape: Shape, fanIn: number, role: MatrixRole = 'matrix'): ParameterSpec => ({
    name,
    shape,
    init: { fanIn, role },
    decay: true,
    stacked: false,
  })
  const vector = (name: string, size: number, init: 'ones' | 'zeros'): ParameterSpec => ({
    name,
    shape: [size],
    init,
    decay: false,
    stacked: false,
  })
  const norm = (name: string): ParameterSpec[] => [
    vector(name, width, 'ones'),
    ...(config.norm === 'layer' ? [vector(`${name}.bias`, width, 'zeros')] : []),
  ]
  const { queries, keys } = attentionColumns(config)
  const ffn = (prefix: string, hidden: number) =>
    ffnParameters(config).map(({ name, rows }) =>
      rows === 'width'
        ? matrix(`${prefix}.${name}`, [width, hidden], width)
        : matrix(`${prefix}.${name}`, [hidden, width], hidden, 'branch'),
    )
  const parametersOfOwnLayer = Object.entries(layerParameters(config))
  const ofOwnLayer = (prefix: string): ParameterSpec[] =>
    parametersOfOwnLayer.map(([key, { shape, init }]) => ({
      name: `${prefix}.${key}`,
      shape,
      init:
        init === 'normal' || init === 'branch'
          ? { fanIn: shape.at(-2) ?? (shape[0] as number), role: init === 'branch' ? 'branch' : 'matrix' }
          : init,
      decay: shape.length > 1,
      stacked: false,
    }))

  const specs: ParameterSpec[] = [{ ...matrix('embedding', [vocabulary, width], width, 'embedding'), decay: false }]
  if (config.positions === 'learned')
    specs.push({ ...matrix('positions', [sequence, width], width, 'positions'), decay: false })
  for (let index = 0; index < layers; index++) {
    const layer = `layers.${index}`
    const routed = routedModules(config, index)
    const router = (module: string, rows = width): ParameterSpec[] =>
      !moe
        ? []
        : routerParameters({ moe, width: rows }, `${module}.router`).map(({ name, parameter: { shape, init } }) => ({
            name,
            shape,
            init: init === 'normal' ? { fanIn: shape[0] as number, role: 'router' } : init,
            decay: false,
            stacked: false,
          }))
    const projection = (module: 'qkv' | 'output', rows: number, columns: number): ParameterSpec[] => {
      const name = moduleName(index, module)
      const role = module === 'output' ? 'branch' : 'matrix'
      const hasBias = config.attentionBias === 'all' || config.attentionBias === module
      if (!moe || !routed.includes(module))
        return [
          matrix(name, [rows, columns], rows, role),
          ...(hasBias ? [vector(`${name}.bias`, columns, 'zeros')] : []),
        ]
      const experts = matrix(`${name}.experts.{e}.weight`, [moe.experts, rows, columns], rows, role)
      return [...router(name, rows), { ...experts, stacked: true }]
    }
    specs.push(...norm(`${layer}.attention.norm`), ...projection('qkv', width, queries + 2 * keys))
    if (config.queryKeyNorm !== 'none') {
      const ofHead = config.queryKeyNorm === 'head'
      specs.push(vector(`${layer}.attention.queryNorm`, ofHead ? headWidthOf(config) : queries, 'ones'))
      specs.push(vector(`${layer}.attention.keyNorm`, ofHead ? headWidthOf(config) : keys, 'ones'))
    }
    specs.push(...projection('output', queries, width))
    if (isOwnLayer(config, index)) {
      const own = ownLayerName(index)
      specs.push(...norm(`${own}.norm`), ...ofOwnLayer(own))
      continue
    }
    if (!moe || !isSparse(config, index)) {
      specs.push(...norm(`${layer}.ffn.norm`), ...ffn(`${layer}.ffn`, config.hidden))
      continue
    }
    specs.push(...norm(`${layer}.moe.norm`), ...router(`${layer}.moe`))
    if (moe.sharedHidden > 0) specs.push(...ffn(`${layer}.moe.shared`, moe.sharedHidden))
    if (moe.sharedGate) specs.push(matrix(sharedMix(`${layer}.moe`), [width, 1], width))
    for (const spec of ffn(`${layer}.moe.experts.{e}`, moe.hidden))
      specs.push({ ...spec, shape: [moe.experts, ...spec.shape], stacked: true })
  }
  specs.push(...norm('norm'))
  if (!config.tied) specs.push(matrix('head', [vocabulary, width], width, 'head'))
  return specs
}

/** How model code reads parameters. Repeated calls return the same tensor. */
export interface Parameters {
  get(name: string): Tensor
  /** The N tensors of a stacked specification, as views. */
  experts(name: string): readonly Tensor[]
  /** The quantized matrices of a parameter, if its weights are quantized; undefined otherwise. */
  quantized?(name: string): QuantizedMatrix | undefined
}

/** Parameters as inputs of a program. It records which parameters were read, so that gradients can be taken. */
export class SymbolicParameters implements Parameters {
  /** Parameters that the program reads: a whole specification, or one expert of a stacked one. */
  readonly used: { readonly spec: ParameterSpec; readonly expert: number | null; readonly tensor: Tensor }[] = []
  private readonly specs: ReadonlyMap<string, ParameterSpec>
  private readonly tensors = new Map<string, Tensor>()
  private readonly dtype: DType

  constructor(specs: readonly ParameterSpec[], dtype: DType) {
    this.specs = new Map(specs.map((spec) => [spec.name, spec]))
    this.dtype = dtype
  }

  get(name: string): Tensor {
    const spec = this.spec(name)
    return this.input(name, spec, null, spec.shape)
  }

  experts(name: string): readonly Tensor[] {
    const spec = this.spec(name)
    const [experts = 0, ...shape] = spec.shape
    return Array.from({ length: experts }, (_, e) => this.input(expertName(name, e), spec, e, shape))
  }

  private spec(name: string): ParameterSpec {
    const spec = this.specs.get(name)
    if (!spec) throw new Error(`internal: no parameter ${name}`)
    return spec
  }

  private input(name: string, spec: ParameterSpec, expert: number | null, shape: Shape): Tensor {
    const known = this.tensors.get(name)
    if (known) return known
    const tensor = input(name, this.dtype, shape)
    this.tensors.set(name, tensor)
    this.used.push({ spec, expert, tensor })
    return tensor
  }
}
