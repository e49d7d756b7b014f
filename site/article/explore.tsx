/** A picture of the article with its controls: which training, which layer, how much room, and what is refused. */
import { Fragment } from 'preact'
import { grouped, percent, plural } from '../../src/core/text/numbers.ts'
import { Segments } from '../../web/src/controls/selection.tsx'
import type { RecordedRoutes } from './recorded.ts'
import { type Refusals, type Routes, refusalsOf } from './refusals.ts'
import { RouterPicture } from './router-picture.tsx'
import { factor, factorLimits, layer, type Picture, rule, shown, type Training } from './state.ts'

const names: Readonly<Record<Training, string>> = {
  'top-1': 'top-1',
  'top-2': 'top-2',
  'prototypes-2x1': 'two prototypes',
  'no-balancing': 'top-1, no balancing loss',
}

/** What a picture lets a reader change, and the trainings that it compares. */
interface Offer {
  /** Name of the picture, which distinguishes it from the others. */
  readonly name: string
  readonly of: readonly Training[]
  /** Whether experts have a capacity, and the text is shown. */
  readonly text: boolean
}

const pictures: Readonly<Record<Picture, Offer>> = {
  router: { name: 'A router', of: ['top-1', 'no-balancing'], text: false },
  k: { name: 'One expert for each token, or two', of: ['top-1', 'top-2'], text: false },
  capacity: { name: 'Full experts', of: ['top-1', 'no-balancing', 'top-2'], text: true },
  prototypes: { name: 'Top-2 and two prototypes', of: ['top-2', 'prototypes-2x1'], text: false },
}

interface ExploreProps {
  readonly picture: Picture
  readonly runs: Readonly<Record<Training, RecordedRoutes>>
}

export function Explore({ picture, runs }: ExploreProps) {
  const { name, of, text } = pictures[picture]
  const chosen = shown[picture]
  const { routers, tokens, choices, experts, step } = runs[chosen.value]
  const at = Math.min(layer.value, routers.length - 1)
  const router = routers[at]
  if (!router) return null
  const routes: Routes = { experts: experts[at] ?? [], choices, of: router.experts }
  // Where room is not the question, there is enough of it.
  const refusals = text ? refusalsOf(routes, factor.value, rule.value) : refusalsOf(routes, router.experts, 'kx')
  return (
    <section class="explore-box" data-picture={picture} aria-label={name}>
      <div class="explore-controls">
        <Segments
          label="Training"
          value={chosen.value}
          options={of.map((value) => ({ value, text: names[value] }))}
          pick={(value) => {
            chosen.value = value as never
          }}
        />
        <Segments
          label="Layer"
          value={String(at)}
          options={routers.map((_, value) => ({ value: String(value), text: String(value) }))}
          pick={(value) => {
            layer.value = Number(value)
          }}
        />
        {text && <Room several={choices > 1} />}
      </div>
      <RouterPicture
        tokens={tokens}
        routes={routes}
        prototypes={router.prototypes}
        refusals={refusals}
        limited={text}
      />
      {text ? (
        <Refused tokens={tokens} routes={routes} refusals={refusals} />
      ) : (
        <p class="explore-caption">{caption(routes, refusals)}</p>
      )}
      <p class="quiet">
        Recorded from layer {router.layer} of a model with {router.experts} experts after {grouped(step)} steps, on a
        text that it was not trained on.
      </p>
    </section>
  )
}

/** The slider of the capacity factor, and for several choices the rule. */
function Room({ several }: { readonly several: boolean }) {
  return (
    <>
      <label class="factor">
        <span>
          Capacity factor γ: <b>{factor.value}</b>
        </span>
        <input
          type="range"
          min={factorLimits.least}
          max={factorLimits.most}
          step={factorLimits.step}
          value={factor.value}
          onInput={(event) => {
            factor.value = event.currentTarget.valueAsNumber
          }}
        />
      </label>
      {several && (
        <Segments
          label="Room for"
          value={rule.value}
          options={[
            { value: 'kx', text: 'both choices (kx)' },
            { value: '1x', text: 'one choice (1x)' },
          ]}
          pick={(value) => {
            rule.value = value
          }}
        />
      )}
    </>
  )
}

function caption({ experts, choices, of }: Routes, { loads }: Refusals): string {
  const tokens = experts.length / choices
  const busiest = loads.indexOf(Math.max(...loads))
  const idle = loads.filter((load) => load === 0).length
  return `${tokens} tokens make ${plural(experts.length, 'choice')}: a fair share is ${(experts.length / of).toFixed(1)} for each expert. Expert ${busiest} has ${loads[busiest]}, and ${idle === 0 ? 'every expert has some' : `${plural(idle, 'expert')} ${idle === 1 ? 'has' : 'have'} none`}.`
}

interface RefusedProps {
  readonly tokens: readonly string[]
  readonly routes: Routes
  readonly refusals: Refusals
}

/** The text with the tokens that full experts refuse struck out, and the arithmetic. */
function Refused({ tokens, routes: { experts, choices, of }, refusals }: RefusedProps) {
  const { capacity, refused, lost } = refusals
  const [drops, gone] = [refused, lost].map((list) => list.filter((is) => is).length) as [number, number]
  const formula = `⌈${choices > 1 && rule.value === 'kx' ? `${choices} · ` : ''}${tokens.length} / ${of} · ${factor.value}⌉`
  return (
    <>
      <p class="explore-caption" aria-live="polite">
        Each expert has room for {formula} = <b>{capacity}</b>. Full experts refuse{' '}
        <b>
          {drops} of {experts.length}
        </b>{' '}
        choices ({percent(drops / experts.length)}), and no expert computes{' '}
        <b>
          {gone} of {tokens.length}
        </b>{' '}
        tokens: they are struck out.
      </p>
      <p class="refused-text">
        {tokens.map((text, token) => {
          const some = refused.slice(token * choices, (token + 1) * choices).includes(true)
          const space = text.length - text.trimStart().length
          if (lost[token])
            return (
              <Fragment key={token}>
                {text.slice(0, space)}
                <s>{text.slice(space)}</s>
              </Fragment>
            )
          return some ? (
            <span key={token} class="one-refused" title="One of its experts refuses it">
              {text}
            </span>
          ) : (
            <span key={token}>{text}</span>
          )
        })}
      </p>
    </>
  )
}
