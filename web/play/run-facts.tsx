/** The numbers of each side: its size, its progress and its quality. */
import { fixed, grouped, percent } from '../../src/core/text/numbers.ts'
import { Swatch } from '../src/runs/swatch.tsx'
import type { LiveRun } from './live-run.ts'
import { commonStep, nameOf, openSides, runs } from './session.ts'
import { styleOfSide } from './styles.ts'
import { progress } from './training-text.ts'

export function Facts() {
  return (
    <div>
      <div class="sides">
        {openSides.value.map((side) => (
          <RunFacts key={side} run={runs[side]} />
        ))}
      </div>
      {openSides.value.length > 1 && (
        <p class="quiet seeds-note">
          One seed is an illustration: train again with other seeds before you believe a small difference.
        </p>
      )}
    </div>
  )
}

function RunFacts({ run }: { readonly run: LiveRun }) {
  void run.version.value
  const opened = run.opened.value
  // The sides are compared at the step that both have reached.
  const step = run.phase.value === 'failed' ? run.step : Math.min(run.step, commonStep.value)
  const last = run.records.findLast((record) => record.step <= step)
  const evaluation = run.evaluations.findLast((record) => record.step <= step)
  const steps = opened?.config.train.steps ?? 0
  // A run reports its own preparation once its text is prepared and the GPU is open.
  const message = run.message.value || (run.phase.value === 'preparing' ? progress.value || 'opening the GPU' : '')
  const isSparse = opened?.config.model.moe != null
  return (
    <section class="pane facts-pane" aria-label={nameOf(run.side)} data-side={run.side} data-phase={run.phase.value}>
      <header>
        <Swatch run={run.side} style={styleOfSide(run.side)} />
        <h2>{nameOf(run.side)}</h2>
      </header>
      {run.problem.value !== null && (
        <p class="bad" role="alert">
          {run.problem.value}
        </p>
      )}
      {message !== '' && <p class="quiet">{message}</p>}
      {opened && (
        <>
          <progress value={step} max={steps} aria-label={`Steps of ${run.side}`} />
          <dl class="numbers">
            <Fact name="step" value={`${grouped(step)} of ${grouped(steps)}`} />
            <Fact name="loss" value={fixed(last?.loss, 3)} hint="Cross-entropy on the batch, in nats per token." />
            <Fact
              name="held-out"
              value={fixed(evaluation?.loss, 3)}
              hint="Loss on text that is not trained on, in nats per token: the number to compare."
            />
            <Fact
              name="bits per byte"
              value={fixed(evaluation?.bits_per_byte, 2)}
              hint="The held-out loss in bits over the bytes of the text. gzip needs about 2.5 to 3 on English text."
            />
            {isSparse && (
              <>
                <Fact
                  name="dropped"
                  value={percent(last?.drop_rate)}
                  hint="Share of choices that found their expert full, mean over layers."
                />
                <Fact
                  name="imbalance c_v"
                  value={fixed(last?.load_cv, 2)}
                  hint="Standard deviation of tokens per expert over their mean: 0 is perfectly even."
                />
                <Fact
                  name="total gate"
                  value={fixed(last?.gate_mean, 2)}
                  hint="Factor by which the output of a token's experts is scaled: the sum of the gates of its kept choices, mean over layers."
                />
                <Fact
                  name="router entropy"
                  value={percent(last?.entropy_share, 0)}
                  hint="Entropy of the router's distribution over the largest possible, mean over layers. Near 100 % it prefers no expert."
                />
                <Fact name="dead experts" value={last ? String(last.dead_experts) : fixed(null, 0)} />
              </>
            )}
            <Fact name="tokens/s" value={last ? grouped(Math.round(last.tokens_per_second)) : fixed(null, 0)} />
            <Fact
              name="parameters"
              value={`${grouped(opened.parameters)}, ${grouped(opened.activeParameters)} for a token`}
            />
          </dl>
          <p class="quiet">{opened.provider}</p>
        </>
      )}
    </section>
  )
}

function Fact({ name, value, hint }: { readonly name: string; readonly value: string; readonly hint?: string }) {
  return (
    <div title={hint}>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  )
}
