/** The settings of all cards, always visible. */
import { useEffect, useRef } from 'preact/hooks'
import { duration } from '../../../src/core/text/numbers.ts'
import { type XAxis, xAxes } from '../../../src/faces/watch/api.ts'
import { Segments } from '../controls/selection.tsx'
import { formatValue } from '../shared/format-value.ts'
import { onKeys } from '../shell/shortcuts.tsx'
import { axisTitles } from './drawing/ticks.ts'
import {
  from,
  logY,
  MAX_SMOOTHING,
  search,
  seedBands,
  setXAxis,
  smoothing,
  to,
  wholeRange,
  withOutliers,
  xAxis,
} from './settings.ts'

export function SettingsBar() {
  const field = useRef<HTMLInputElement>(null)
  useEffect(() => onKeys({ m: () => field.current?.focus(), r: wholeRange }), [])
  return (
    <form class="settings" aria-label="How curves are shown" onSubmit={(event) => event.preventDefault()}>
      <input
        ref={field}
        type="search"
        placeholder="Search metrics"
        aria-label="Search metrics"
        spellcheck={false}
        value={search.value}
        onInput={(event) => (search.value = event.currentTarget.value)}
        onKeyDown={(event) => event.key === 'Escape' && event.currentTarget.blur()}
      />
      <Segments
        label="Horizontal axis"
        labelHidden
        value={xAxis.value}
        options={xAxes.map((axis) => ({ value: axis, text: axisTitles[axis] }))}
        pick={setXAxis}
      />
      <label class="slider">
        Smoothing
        <input
          type="range"
          min={0}
          max={MAX_SMOOTHING}
          step={0.01}
          value={smoothing.value}
          onInput={(event) => (smoothing.value = event.currentTarget.valueAsNumber)}
        />
        <output>{smoothing.value.toFixed(2)}</output>
      </label>
      <label class="check">
        <input type="checkbox" checked={logY.value} onChange={() => (logY.value = !logY.value)} />
        Log y
      </label>
      <label
        class="check"
        title="The vertical axis leaves out values far from the others, such as the first steps; ▲ and ▼ show where"
      >
        <input
          type="checkbox"
          checked={!withOutliers.value}
          onChange={() => (withOutliers.value = !withOutliers.value)}
        />
        Ignore outliers
      </label>
      <label
        class="check"
        title="Runs that differ only in their seeds become one line, their mean, in a band from minimum to maximum"
      >
        <input type="checkbox" checked={seedBands.value} onChange={() => (seedBands.value = !seedBands.value)} />
        Bands over seeds
      </label>
      {(from.value !== null || to.value !== null) && (
        <button type="button" class="zoomed" onClick={wholeRange} title="Back to the whole range (r)">
          {rangeText(xAxis.value)} ✕
        </button>
      )}
    </form>
  )
}

function rangeText(axis: XAxis): string {
  const format = (value: number | null, end: string) => {
    if (value === null) return end
    return axis === 'time' ? duration(value) : formatValue(value)
  }
  return `${axisTitles[axis]} ${format(from.value, 'start')} to ${format(to.value, 'end')}`
}
