/**
 * The ledger of a step: how many rows and bytes each rank has sent to each other rank for the experts of every layer.
 * It is read from the orders that kernels posted (`src/engine/contract/order-log.ts`), not computed from the routing.
 */
import type { Stage } from '../../../core/graph/stages/contract.ts'
import { moduleName, type RoutedModule } from '../../../core/model/config/moe-config.ts'
import type { Executable } from '../../../engine/contract/runtime.ts'
import type { LedgerRecord } from '../metrics/records.ts'
import type { OwnStep } from './times.ts'

/** An all-to-all of a program, by the index of its stage. */
interface AllToAllStage {
  readonly layer: number
  readonly module: RoutedModule
  /** Bytes of a row that travels to its expert in the forward pass; null for any other all-to-all. */
  readonly rowBytes: number | null
}
export type AllToAllStages = ReadonlyMap<number, AllToAllStage>

const exchangeOf = (stage: Stage) =>
  stage.kind === 'kernel'
    ? { type: stage.type, origin: stage.origin, rowBytes: 4 * (stage.inputs[0]?.shape[1] ?? 0) }
    : null

/** The all-to-alls of a program. @param modules The routed modules of the program. */
export function allToAllStages(
  { stages = [], hostSteps }: Executable['model'],
  modules: readonly { readonly layer: number; readonly module: RoutedModule }[],
): AllToAllStages {
  const found = new Map<number, AllToAllStage>()
  const dispatched = new Set<string>()
  const exchanges = hostSteps ?? stages.map(exchangeOf)
  exchanges.forEach((exchange, index) => {
    if (!exchange || !['all-to-all-sizes', 'all-to-all-rows'].includes(exchange.type)) return
    const { layer: name } = exchange.origin
    const place = modules.find(({ layer, module }) => name.startsWith(`${moduleName(layer, module)}.`))
    if (!place) throw new Error(`internal: an all-to-all in ${name}, which has no experts`)
    // The first all-to-all of a module sends rows to the experts; results and gradients follow.
    const isDispatch = exchange.type === 'all-to-all-rows' && !dispatched.has(name)
    if (isDispatch) dispatched.add(name)
    found.set(index, { layer: place.layer, module: place.module, rowBytes: isDispatch ? exchange.rowBytes : null })
  })
  return found
}

/**
 * The records of a step, by layer and expert group.
 * @param steps The step of each rank. @param own The step of this rank, whose stages are the same on all ranks.
 * @param passes The all-to-alls of each pass of the step, in order.
 */
export function ledgerRecords(
  step: number,
  steps: readonly OwnStep[],
  own: OwnStep,
  passes: readonly AllToAllStages[],
  expert: number,
): LedgerRecord[] {
  const records = new Map<string, LedgerRecord>()
  const matrix = () => Array.from({ length: expert }, () => new Array<number>(expert).fill(0))
  own.orders.forEach(({ stage }, i) => {
    const allToAll = passes[Math.floor((i * passes.length) / own.orders.length)]?.get(stage)
    if (!allToAll) throw new Error(`internal: stage ${stage} is no all-to-all`)
    const { layer, module, rowBytes } = allToAll
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
