/**
 * The ledger of a step: how many rows and bytes each rank has sent to each other one for the experts of every layer.
 * It is read from the orders that kernels posted (`src/engine/contract/order-log.ts`), not computed from the routing.
 */
import { moduleName, type RoutedModule } from '../../../core/model/parameters.ts'
import type { Executable } from '../../../engine/contract/runtime.ts'
import type { LedgerRecord } from '../records.ts'
import type { OwnStep } from './times.ts'

/** An exchange of a program, by the index of its stage. */
interface ExchangeStage {
  readonly layer: number
  readonly module: RoutedModule
  /** Of a row that travels to its expert in the forward pass; null for any other exchange. */
  readonly rowBytes: number | null
}
export type ExchangeStages = ReadonlyMap<number, ExchangeStage>

/** The exchanges of a program. @param modules Its routed modules. */
export function exchangeStages(
  { stages = [] }: Executable['model'],
  modules: readonly { readonly layer: number; readonly module: RoutedModule }[],
): ExchangeStages {
  const found = new Map<number, ExchangeStage>()
  const dispatched = new Set<string>()
  stages.forEach((stage, index) => {
    if (stage.kind !== 'kernel' || !['exchange-sizes', 'exchange-rows'].includes(stage.type)) return
    const { layer: name } = stage.origin
    const place = modules.find(({ layer, module }) => name.startsWith(`${moduleName(layer, module)}.`))
    if (!place) throw new Error(`internal: an exchange of rows in ${name}, which has no experts`)
    // Results, and gradients, follow the rows that go to the experts.
    const isDispatch = stage.type === 'exchange-rows' && !dispatched.has(name)
    if (isDispatch) dispatched.add(name)
    const width = stage.inputs[0]?.shape[1] ?? 0
    found.set(index, { layer: place.layer, module: place.module, rowBytes: isDispatch ? 4 * width : null })
  })
  return found
}

/**
 * The records of a step, by layer and expert group.
 * @param steps Of all ranks. @param own The step of this rank, whose stages are those of all.
 * @param passes The exchanges of each pass of the step, in order.
 */
export function ledgerRecords(
  step: number,
  steps: readonly OwnStep[],
  own: OwnStep,
  passes: readonly ExchangeStages[],
  expert: number,
): LedgerRecord[] {
  const records = new Map<string, LedgerRecord>()
  const matrix = () => Array.from({ length: expert }, () => new Array<number>(expert).fill(0))
  own.orders.forEach(({ stage }, i) => {
    const exchange = passes[Math.floor((i * passes.length) / own.orders.length)]?.get(stage)
    if (!exchange) throw new Error(`internal: stage ${stage} exchanges no rows`)
    const { layer, module, rowBytes } = exchange
    steps.forEach(({ orders }, rank) => {
      const source = rank % expert
      const key = `${layer} ${module} ${rank - source}`
      const empty = { step, layer, module, first_rank: rank - source, rows: matrix(), bytes: matrix() }
      const { rows, bytes } = records.get(key) ?? empty
      records.set(key, { ...empty, rows, bytes })
      orders[i]?.sentBytes.forEach((sent, destination) => {
        const [ofRows, ofBytes] = [rows[source] as number[], bytes[source] as number[]]
        ofBytes[destination] = (ofBytes[destination] as number) + sent
        if (rowBytes !== null) ofRows[destination] = (ofRows[destination] as number) + sent / rowBytes
      })
    })
  })
  return [...records.values()]
}
