/** Heat map of one router's experts over all snapshots. A press opens the expert at the snapshot; a drag moves time. */
import type { ReadonlySignal } from '@preact/signals'
import { useMemo } from 'preact/hooks'
import { grouped } from '../../../../src/core/text/numbers.ts'
import type { RouterInfo, RoutingIndex } from '../../../../src/faces/watch/api.ts'
import { Message } from '../../controls/message.tsx'
import { describeLoad, loadOf } from '../expert-load.ts'
import { Facts } from '../expert-panel.tsx'
import * as view from '../view.ts'
import { roundSnapshots } from './axis.ts'
import { type Frame, timeFrame } from './frame.ts'
import { HeatMap } from './heat-map.tsx'

interface TimeMapProps {
  /** Loads of the router, of shape [snapshots][2][experts]; null while they are loading. */
  readonly history: Float32Array | null
  readonly router: RouterInfo
  readonly index: Pick<RoutingIndex, 'experts' | 'steps'>
  readonly at: ReadonlySignal<number>
  readonly moveTo: (snapshot: number) => void
  readonly open: (expert: number) => void
  /** Experts that are outlined at the current snapshot. */
  readonly opened?: readonly number[]
  readonly legend?: boolean
  readonly saved?: boolean
}

export function TimeMap(props: TimeMapProps) {
  const { history, router, index, at, moveTo, open, opened = [], legend = true, saved = legend } = props
  const width = index.experts
  const order = view.order.value
  const stage = view.loadKind.value
  const frame = useMemo(
    () => history && timeFrame(history, router, width, { order, stage }),
    [history, router, width, order, stage],
  )
  if (!history || !frame) return <Message title="Reading the history of this layer…" />
  const rowHeight = Math.max(4, Math.min(24, Math.floor(620 / router.experts)))
  const every = Math.ceil(12 / rowHeight)
  const rows = Array.from({ length: router.experts }, (_, row) => row).filter((row) => row % every === 0)
  const columns = roundSnapshots(index.steps.slice(0, frame.columns))
  return (
    <HeatMap
      frame={frame}
      label={`Load of the ${router.experts} experts of layer ${router.layer} over ${frame.columns} snapshots`}
      rowHeight={rowHeight}
      describe={({ row, column }) => {
        const expert = frame.expertAt(row, column)
        if (expert < 0) return null
        const load = loadOf(history, column * 2 * width, width, router.experts, expert)
        const step = index.steps[column] ?? 0
        return {
          line: `step ${step}, expert ${expert}: ${describeLoad(load)}`,
          more: (
            <>
              <b>Expert {expert}</b>
              <Facts load={load} step={step} />
            </>
          ),
        }
      }}
      drag={({ column }) => moveTo(column)}
      open={({ row }) => open(frame.expertAt(row, 0))}
      at={at}
      legend={legend}
      saved={saved}
      opened={opened.map((expert) => ({ row: rowOf(frame, expert), column: at.value }))}
      file={{
        name: `Loads of the experts of layer ${router.layer} over time`,
        sides: ['expert', 'step'],
        placeOf: (row, column) => [frame.expertAt(row, column), index.steps[column] ?? 0],
      }}
      rowNames={rows.map((row) => ({ row, element: <span>{frame.expertAt(row, 0)}</span> }))}
      columnNames={columns.map((column, i) => ({
        column,
        text: `${i === 0 ? 'step ' : ''}${grouped(index.steps[column] ?? 0)}`,
      }))}
    />
  )
}

function rowOf({ rows, expertAt }: Frame, expert: number): number {
  return Array.from({ length: rows }, (_, row) => row).find((row) => expertAt(row, 0) === expert) ?? 0
}
