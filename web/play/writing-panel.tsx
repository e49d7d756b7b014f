/** Texts that both models write, also while they train. Each token is computed with the parameters of that moment. */
import { signal } from '@preact/signals'
import type { LiveRun } from './live-run.ts'
import { nameOf, openSides, runs, write } from './session.ts'

const prompt = signal('My fellow citizens, ')
const temperature = signal(0.8)
const TOKENS = 120
let seed = 0

export function WritingPanel() {
  return (
    <section class="pane" aria-label="Writing">
      <form
        class="writing"
        onSubmit={(event) => {
          event.preventDefault()
          seed++
          void write(prompt.value, { tokens: TOKENS, temperature: temperature.value, seed })
        }}
      >
        <label class="pick">
          <span>Beginning of a text</span>
          <input type="text" value={prompt.value} onInput={(event) => (prompt.value = event.currentTarget.value)} />
        </label>
        <label class="pick" title="0 always takes the likeliest token; higher is more varied">
          <span>Temperature {temperature.value.toFixed(1)}</span>
          <input
            type="range"
            min={0}
            max={1.5}
            step={0.1}
            value={temperature.value}
            onInput={(event) => (temperature.value = Number(event.currentTarget.value))}
          />
        </label>
        <button type="submit" class="primary">
          Write
        </button>
      </form>
      <div class="sides">
        {openSides.value.map((side) => (
          <Written key={side} run={runs[side]} prompt={prompt.value} />
        ))}
      </div>
    </section>
  )
}

function Written({ run }: { readonly run: LiveRun; readonly prompt: string }) {
  const text = run.written.value
  return (
    <section aria-label={`Text of ${run.side}`} aria-busy={run.isWriting.value}>
      <h2>{nameOf(run.side)}</h2>
      {text === '' ? (
        <p class="quiet">{run.isWriting.value ? 'Writing…' : 'Press Write, now and later: it becomes better.'}</p>
      ) : (
        <p class="written">{text}</p>
      )}
    </section>
  )
}
