/** Heat map of all experts of all routers at one snapshot. */

import type { ReadonlySignal } from '@preact/signals'
import { useMemo } from 'preact/hooks'
import { grouped } from '../../../src/core/text/numbers.ts'
import type { RouterInfo, RoutingIndex } from '../../../src/faces/watch/api.ts'
import { Message } from '../controls/message.tsx'
import { roundSnapshots } from './axis.ts'
import { describeLoad, loadOf } from './expert-load.ts'
import { Facts } from './expert-panel.tsx'
import { type Frame, layerFrame, type Order, timeFrame } from './frame.ts'
import { type Cell, HeatMap } from './heat-map.tsx'
import type { ShownLoads } from './use-loads.ts'
import * as view from './view.ts'

interface LayerMapProps {
  readonly shown: ReadonlySignal<ShownLoads | null>
  readonly index: Pick<RoutingIndex, 'routers' | 'experts' | 'steps'>
  readonly names: readonly string[]
  readonly selected: number
  /** Experts of the selected router that are outlined, such as the expert whose panel is open. */
  readonly opened: readonly number[]
  readonly open: (router: number, expert: number) => void
  /** Called for a press on the name of a row; it selects the router by default. */
  readonly openRow?: (router: number) => void
}

const select = (router: number): void => {
  view.router.value = router
}

export function LayerMap(props: LayerMapProps) {
  const { shown, index, names, selected, opened, open, openRow = select } = props
  const { routers, experts } = index
  const order = view.order.value
  const stage = view.loadKind.value
  const current = shown.value
  const frame = useMemo(
    () =>
      current &&
      current.loads.length === routers.length * 2 * experts &&
      layerFrame(current.loads, routers, experts, { order, stage }),
    [current, routers, experts, order, stage],
  )
  const columnNames = useMemo(() => columnNamesOf(order, index), [order, index])
  if (!current || !frame) return <Message title="Reading the snapshot…" />
  return (
    <HeatMap
      frame={frame}
      label={`Load of ${experts} experts in ${routers.length} layers`}
      rowHeight={Math.max(13, Math.min(40, Math.floor(520 / routers.length)))}
      describe={({ row, column }) => {
        const expert = frame.expertAt(row, column)
        const router = routers[row]
        if (expert < 0 || !router) return null
        const load = loadOf(current.loads, row * 2 * experts, experts, router.experts, expert)
        return {
          line: `layer ${names[row]}, expert ${expert}: ${describeLoad(load)}`,
          more: (
            <>
              <b>
                Layer {names[row]}, expert {expert}
              </b>
              <Facts load={load} step={index.steps[current.snapshot] ?? 0} />
            </>
          ),
        }
      }}
      open={({ row, column }) => {
        const expert = frame.expertAt(row, column)
        if (expert >= 0) open(row, expert)
      }}
      rowNames={names.map((name, row) => ({
        row,
        element: (
          <button
            type="button"
            aria-current={row === selected}
            title={`Layer ${name} over time`}
            aria-label={`Layer ${name} over time`}
            onClick={() => openRow(row)}
          >
            {name}
          </button>
        ),
      }))}
      columnNames={columnNames}
      file={{
        name: `Loads of all experts at step ${index.steps[current.snapshot] ?? 0}`,
        sides: ['layer', 'expert'],
        placeOf: (row, column) => [names[row] ?? '', frame.expertAt(row, column)],
      }}
      nameLength={Math.max(...names.map(({ length }) => length))}
      opened={opened.flatMap((expert) => cellOf(frame, selected, expert) ?? [])}
    />
  )
}

function cellOf({ columns, expertAt }: Frame, row: number, expert: number): Cell | null {
  for (let column = 0; column < columns; column++) if (expertAt(row, column) === expert) return { row, column }
  return null
}

/** Expert numbers if columns are sorted by number; otherwise the meaning of positions. */
function columnNamesOf(order: Order, { routers, experts }: LayerMapProps['index']) {
  if (order === 'number') {
    const every = Math.max(1, 2 ** Math.ceil(Math.log2(experts / 16)))
    return Array.from({ length: Math.ceil(experts / every) }, (_, i) => ({
      column: i * every,
      text: i === 0 ? 'expert 0' : String(i * every),
    }))
  }
  const prototypes = order === 'prototype' ? (routers[0]?.prototypes ?? 1) : 1
  if (prototypes === 1) return [{ column: Math.min(experts - 1, Math.floor(experts / 24)), text: 'most loaded' }]
  return Array.from({ length: prototypes }, (_, z) => ({
    column: Math.floor(((z + 0.5) * experts) / prototypes),
    text: prototypes > 8 ? String(z) : `prototype ${z}`,
  }))
}

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
