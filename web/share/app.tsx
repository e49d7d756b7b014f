/** The page: what the run is, its moments, and the pictures that play through it. */
import { useEffect, useMemo } from 'preact/hooks'
import { grouped, plural } from '../../src/core/text/numbers.ts'
import type { SharedRun } from '../../src/faces/watch/share/shared-run.ts'
import '../src/experts/experts.css'
import { Scrubber, togglePlaying, useSpace } from '../src/experts/scrubber.tsx'
import { routerNames } from '../src/shared/router-names.ts'
import { ThemeButton } from '../src/shell/theme-button.tsx'
import { LossCurve } from './loss-curve.tsx'
import { LayersNow, OneLayer } from './maps.tsx'
import { Moments } from './moments.tsx'
import { type Replay, replayOf } from './replay.ts'
import { SentencePanel } from './sentence-panel.tsx'

export function App({ run }: { readonly run: SharedRun }) {
  const replay = useMemo(() => replayOf(run), [run])
  useSpace(() => togglePlaying(replay.steps.value, replay.at.value))
  const names = routerNames(run.index.routers)
  return (
    <>
      <a class="skip" href="#main">
        Skip to the pictures
      </a>
      <header class="top">
        <span class="brand">The life of experts</span>
        <ThemeButton />
      </header>
      <main id="main" class="experts share" tabIndex={-1}>
        <Head run={run} />
        <div class="share-player">
          <Scrubber steps={replay.steps} at={replay.at} ready={() => true} running={null} of={run.index.of} />
          <Caption replay={replay} />
        </div>
        <Moments replay={replay} />
        <LayersNow replay={replay} names={names} />
        <OneLayer replay={replay} names={names} />
        <LossCurve replay={replay} />
        <SentencePanel replay={replay} names={names} />
        <Rules run={run} />
      </main>
    </>
  )
}

function Head({ run }: { readonly run: SharedRun }) {
  const { name, facts, index, note } = run
  useEffect(() => {
    document.title = `${name}, the life of its experts`
  }, [name])
  const [first, last] = [index.steps[0] ?? 0, index.steps.at(-1) ?? 0]
  const thinned = index.steps.length < index.of ? ` (of ${grouped(index.of)} in the run)` : ''
  return (
    <section class="share-head" aria-label="The run">
      <h1>{name}</h1>
      <p>
        This language model sends each token of its text to a few of the {grouped(index.experts)} experts in a layer.
        The pictures show how many tokens each expert got while the model was trained, at{' '}
        {plural(index.steps.length, 'snapshot')} from step {grouped(first)} to {grouped(last)}
        {thinned}. Press play{run.moments.length > 0 && ', or a moment'}.
      </p>
      <p class={run.state === 'failed' ? 'bad' : 'quiet'}>
        {stateText(run)}
        {note !== null && ` ${note}`}
      </p>
      <dl>
        {facts.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
    </section>
  )
}

function stateText({ state, step, steps }: SharedRun): string {
  const place = steps === null ? `step ${grouped(step)}` : `step ${grouped(step)} of ${grouped(steps)}`
  if (state === 'finished') return `The training is complete: ${place}.`
  if (state === 'running')
    return `This page was made while the training was running, at ${place}: the end is not in it.`
  if (state === 'failed') return `The training failed at ${place}.`
  return `The training had stopped at ${place}.`
}

/** The moment that was jumped to, or else the newest up to the current step, as in a film. */
function Caption({ replay }: { readonly replay: Replay }) {
  const moment = replay.chosen.value ?? replay.latest.value
  return (
    <p class="share-caption">
      {moment ? (
        <>
          <b>Step {grouped(moment.step)}</b> {moment.text}
        </>
      ) : (
        <span class="quiet">Nothing notable up to this step</span>
      )}
    </p>
  )
}

function Rules({ run }: { readonly run: SharedRun }) {
  return (
    <footer class="share-foot">
      <details>
        <summary>How moments are found</summary>
        <p>
          {run.found > run.moments.length
            ? `The ${run.moments.length} most notable of ${grouped(run.found)} moments are shown.`
            : 'All moments are shown.'}{' '}
          They are found by these rules, from what the training recorded:
        </p>
        <ul>
          {run.rules.map((rule) => (
            <li key={rule}>{rule}</li>
          ))}
        </ul>
      </details>
      <p class="quiet">
        Made by Choir: <code>choir watch RUN --share</code>. This file sends and loads nothing.
      </p>
    </footer>
  )
}
