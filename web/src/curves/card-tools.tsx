/** The buttons of a card: pin, show as table, download, enlarge. */
import type { ReadonlySignal, Signal } from '@preact/signals'
import { Icon, type IconName } from '../shell/icon.tsx'
import type { Figure } from './drawing/figure.ts'
import { ink } from './drawing/ink.ts'
import { downloadCsv, downloadPng, downloadSvg } from './series/download.ts'
import { enlarged, pinned, toggled } from './settings.ts'

interface CardToolsProps {
  readonly metric: string
  readonly figure: ReadonlySignal<Figure | null>
  /** Makes the points as CSV; null if there are none. */
  readonly csv: ReadonlySignal<(() => string) | null>
  readonly asTable: Signal<boolean>
  readonly large: boolean
}

export function CardTools({ metric, figure, csv, asTable, large }: CardToolsProps) {
  const isPinned = pinned.value.includes(metric)
  return (
    <div class="card-tools">
      <Tool
        icon="pin"
        label={isPinned ? 'Unpin' : 'Pin to the top'}
        pressed={isPinned}
        act={() => (pinned.value = toggled(pinned.value, metric))}
      />
      <Tool icon="table" label="Show as table" pressed={asTable.value} act={() => (asTable.value = !asTable.value)} />
      <Downloads metric={metric} figure={figure} csv={csv} />
      {!large && <Tool icon="expand" label="Enlarge" act={() => (enlarged.value = metric)} />}
    </div>
  )
}

interface ToolProps {
  readonly icon: IconName
  readonly label: string
  readonly pressed?: boolean
  readonly act: () => void
}

function Tool({ icon, label, pressed, act }: ToolProps) {
  return (
    <button type="button" class="quiet" aria-label={label} title={label} aria-pressed={pressed} onClick={act}>
      <Icon name={icon} filled={icon === 'pin' && pressed === true} />
    </button>
  )
}

function Downloads({ metric, figure, csv }: Pick<CardToolsProps, 'metric' | 'figure' | 'csv'>) {
  const drawn = figure.value
  const points = csv.value
  return (
    <details class="menu">
      <summary aria-label="Download" title="Download">
        <Icon name="download" />
      </summary>
      {/* biome-ignore lint/a11y/noStaticElementInteractions lint/a11y/useKeyWithClickEvents: the buttons inside act; this only closes the menu */}
      <div class="menu-body right" onClick={(event) => event.currentTarget.closest('details')?.removeAttribute('open')}>
        <button type="button" disabled={!drawn} onClick={() => drawn && downloadPng(drawn, ink.value)}>
          Picture (PNG)
        </button>
        <button type="button" disabled={!drawn} onClick={() => drawn && downloadSvg(drawn, ink.value)}>
          Drawing (SVG)
        </button>
        <button type="button" disabled={!points} onClick={() => points && downloadCsv(metric, points())}>
          Points (CSV)
        </button>
      </div>
    </details>
  )
}
