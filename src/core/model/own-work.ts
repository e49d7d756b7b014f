/** What the routers and layers of a user's own compute, by their graphs. */
import { input, type Tensor, withKernels } from '../graph/tensor.ts'
import { productFlops, type RowLookup, rowLookups, tablesOf } from '../graph/traced-work.ts'
import { moduleName } from './config/moe-config.ts'
import type { ModelConfig } from './config.ts'
import {
  isOwnLayer,
  moduleWidths,
  ownLayerName,
  parameterSpecs,
  routedModules,
  SymbolicParameters,
} from './parameters.ts'
import { route, routerWeights } from './routing/routers.ts'
import { ownLayer } from './transformer.ts'

export interface OwnWork {
  /** What the names of their parameters begin with, before a dot, or are. */
  readonly prefixes: readonly string[]
  /** Floating-point operations of the matrix products of a forward pass. */
  readonly productFlops: number
  /** Names of parameters of which only rows are looked up. */
  readonly tables: ReadonlySet<string>
  /** Every lookup of rows of a parameter. */
  readonly lookups: readonly RowLookup[]
}

const nothing: OwnWork = { prefixes: [], productFlops: 0, tables: new Set(), lookups: [] }

/** Traces the user's own routers and layers in a training pass of so many sequences. */
export function ownWork(config: ModelConfig, sequences: number): OwnWork {
  const { moe, layers, sequence, width } = config
  if (moe?.router !== 'own' && !config.layer) return nothing
  const parameters = new SymbolicParameters(parameterSpecs(config), 'float32')
  const tokens = sequences * sequence
  const tokens_T = input('tokens', 'int32', [tokens])
  const activations = (columns: number) => input('x', 'float32', [tokens, columns])
  const pass = { sequence, training: true }
  const prefixes: string[] = []
  const outputs: Tensor[] = []
  withKernels({ names: new Set<string>(), tile: 1, threads: 1, parts: 1 }, () => {
    for (let layer = 0; layer < layers; layer++) {
      for (const module of routedModules(config, layer)) {
        if (moe?.router !== 'own') continue
        const prefix = `${moduleName(layer, module)}.router`
        const { inputs } = moduleWidths(config, module)
        const weights = routerWeights({ moe, width: inputs }, parameters, prefix)
        // A few sequences may have fewer tokens than there are groups.
        const one = { ...moe, groups: 1 }
        const { losses, ...choice } = route({ moe: one, x_TD: activations(inputs), weights, tokens_T, ...pass })
        prefixes.push(prefix)
        outputs.push(...Object.values(choice), ...Object.values(losses ?? {}))
      }
      if (!isOwnLayer(config, layer)) continue
      const { y_TD, loss } = ownLayer(config, parameters, layer, activations(width), tokens_T, pass)
      prefixes.push(ownLayerName(layer))
      outputs.push(y_TD, ...(loss ? [loss] : []))
    }
  })
  return {
    prefixes,
    productFlops: productFlops(outputs),
    tables: tablesOf(outputs),
    lookups: rowLookups(outputs),
  }
}
