/** The time slider: selects the shown snapshot, and plays through all. */
import { type ReadonlySignal, useSignalEffect } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { grouped } from '../../../src/core/text/numbers.ts'
import { moveTo, playing, speed, speeds, step, toNewest } from './view.ts'

interface ScrubberProps {
  readonly steps: ReadonlySignal<readonly number[]>
  readonly at: ReadonlySignal<number>
  /** Whether a snapshot is loaded; playing waits for it. */
  readonly ready: (snapshot: number) => boolean
  /** Whether more snapshots may come; null if none can, so that there is no button to follow the newest. */
  readonly running: boolean | null
  /** Number of snapshots in the file; `steps` may have only some of them. */
  readonly of: number
}

export function Scrubber({ steps, at, ready, running, of }: ScrubberProps) {
  const last = steps.value.length - 1
  const current = steps.value[at.value] ?? 0
  usePlayer(steps, at, ready)
  const isNewest = step() === null
  return (
    <div class="scrubber">
      <button
        type="button"
        class="play"
        aria-label={playing.value ? 'Pause (space)' : 'Play (space)'}
        title={playing.value ? 'Pause (space)' : 'Play (space)'}
        disabled={last < 1}
        onClick={() => togglePlaying(steps.value, at.value)}
      >
        {playing.value ? '❚❚' : '▶'}
      </button>
      <input
        type="range"
        min={0}
        max={Math.max(0, last)}
        value={at.value}
        aria-label="Snapshot"
        aria-valuetext={`step ${current}, snapshot ${at.value + 1} of ${last + 1}`}
        onInput={(event) => {
          playing.value = false
          moveTo(steps.value[Number(event.currentTarget.value)] ?? 0)
        }}
      />
      <output class="scrubber-step" title={thinningNote(last + 1, of)}>
        step <b>{grouped(current)}</b>
        <span>
          {' '}
          {grouped(at.value + 1)} of {grouped(last + 1)}
        </span>
      </output>
      <label class="scrubber-speed">
        <span class="hidden">Snapshots per second</span>
        <select
          value={speed.value}
          title="Snapshots per second"
          onChange={(event) => {
            speed.value = speeds.find((each) => String(each) === event.currentTarget.value) ?? speed.value
          }}
        >
          {speeds.map((each) => (
            <option key={each} value={each}>
              {each}/s
            </option>
          ))}
        </select>
      </label>
      {running !== null && (
        <button
          type="button"
          class="newest"
          aria-pressed={isNewest}
          onClick={toNewest}
          title="Follow the newest snapshot"
        >
          {running ? 'Live' : 'Newest'}
        </button>
      )}
    </div>
  )
}

const thinningNote = (kept: number, of: number) =>
  kept < of ? `${grouped(kept)} of the ${grouped(of)} snapshots in the file are shown, evenly spaced` : undefined

/** Starts or pauses playing. At the last snapshot, playing starts over. */
export function togglePlaying(steps: readonly number[], at: number): void {
  playing.value = !playing.value
  if (playing.value && at >= steps.length - 1) moveTo(steps[0] ?? 0)
}

function usePlayer(steps: ScrubberProps['steps'], at: ScrubberProps['at'], ready: ScrubberProps['ready']): void {
  useSignalEffect(() => {
    if (!playing.value) return
    let due = performance.now()
    let frame = requestAnimationFrame(function tick(now) {
      // Effects of a pause run after the next frame: this one may come before them.
      if (!playing.peek()) return
      frame = requestAnimationFrame(tick)
      const next = at.peek() + 1
      if (now < due || (next < steps.peek().length && !ready(next))) return
      // Playing does not hurry after late snapshots.
      due = Math.max(due + 1000 / speed.peek(), now)
      if (next >= steps.peek().length) playing.value = false
      else moveTo(steps.peek()[next] as number)
    })
    return () => cancelAnimationFrame(frame)
  })
}

/** Handles the space bar, except where it has another meaning. */
export function useSpace(act: () => void): void {
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement
      const isFree =
        target instanceof HTMLInputElement
          ? target.type === 'range'
          : !target.closest('button, select, textarea, a, dialog')
      if (event.key !== ' ' || !isFree || event.defaultPrevented) return
      event.preventDefault()
      act()
    }
    addEventListener('keydown', press)
    return () => removeEventListener('keydown', press)
  }, [])
}
