/**
 * The parts of the article that are made from results when the site is built: questions to guess, answers with their
 * intervals and figures, and links into `choir play`. The article names them in comments, such as
 * `<!-- guess imbalance -->`, so that no number in it is typed by hand.
 */
import type { ShownClaim, ShownClaims } from '../../bench/studies/findings/claims.ts'
import { claimStyle, claimsBody } from '../../bench/studies/findings/claims-figure.ts'
import { escapeXml } from '../../src/core/text/escape.ts'
import { FILE_MARGIN, svgFile } from '../../src/tools/report/figures/drawing.ts'
import { lessons, settingOf } from '../../web/play/lessons.ts'
import { queryOf } from '../../web/play/settings/address.ts'

/** Claims of each lesson, by their names in the study; the guess is about the first. */
export const lessonClaims = {
  pay: ['Routing beats a dense model'],
  imbalance: ['Imbalance does not matter'],
  k: ['More activated experts help'],
  capacity: ['Capacity matters'],
  prototypes: ['Prototypes help at constant cost', 'k top-1 beats top-k'],
  attention: ['MoE attention harms'],
  scale: ['Prototypes gain with size', 'Prototypes converge faster'],
} as const
export type LessonName = keyof typeof lessonClaims

const widths = { '': 832, '-narrow': 340 } as const

const fileOf = (lesson: string, suffix: string) => `${lesson}${suffix}.svg`

const claimsIn = (lesson: LessonName, { claims }: ShownClaims): ShownClaim[] =>
  lessonClaims[lesson].map((name) => {
    const found = claims.find((claim) => claim.name === name)
    if (!found) throw new Error(`internal: the study has no claim “${name}”`)
    return found
  })

/** Figures of the effects of each lesson, by the names of their files. */
export function figuresOf(shown: ShownClaims): { readonly file: string; readonly svg: string }[] {
  return (Object.keys(lessonClaims) as LessonName[]).flatMap((lesson) =>
    Object.entries(widths).map(([suffix, outer]) => {
      const width = outer - 2 * FILE_MARGIN
      const name = `${lesson}${suffix}`
      const body = claimsBody({ ...shown, claims: claimsIn(lesson, shown) }, width)
      return {
        file: fileOf(lesson, suffix),
        svg: svgFile(body, { name, caption: 'Effects with their 95 % intervals', width }, claimStyle),
      }
    }),
  )
}

/** The words for an answer, and what a reader guesses. */
const options = { holds: 'It is true here', 'does not hold': 'It is not', undecided: 'The study cannot tell' } as const

/** HTML for a comment in the article. @throws an internal error for a name without a meaning */
export function partOf(kind: string, name: string, shown: ShownClaims): string {
  if (kind === 'play') return playLink(name)
  const lesson = name as LessonName
  if (kind !== 'guess' || !(lesson in lessonClaims))
    throw new Error(`internal: the article has no part “${kind} ${name}”`)
  return guess(lesson, shown)
}

/** A question about a claim, and its answer to unfold: readable, and in this order, without a script too. */
function guess(lesson: LessonName, shown: ShownClaims): string {
  const claims = claimsIn(lesson, shown)
  const [first] = claims
  const answer = first?.effects[0]?.answer ?? 'undecided'
  const choices = Object.entries(options).map(
    ([value, text]) =>
      `<label><input type="radio" name="guess-${lesson}" value="${value}"> <span>${text}</span></label>`,
  )
  return [
    `<div class="guess" data-lesson="${lesson}" data-answer="${answer}" data-mark="${first?.effects[0]?.answerText.endsWith('°') ? ' °' : ''}">`,
    '<fieldset hidden>',
    `<legend>Guess first: “${escapeXml(first?.statement ?? '')}”</legend>`,
    ...choices,
    '</fieldset>',
    '<p class="guess-result" aria-live="polite"></p>',
    '<details>',
    '<summary>What the study found</summary>',
    ...claims.map((claim) => answerOf(claim, shown)),
    `<picture><source media="(max-width: 767px)" srcset="article/${fileOf(lesson, '-narrow')}"><img src="article/${fileOf(lesson, '')}" alt="The effects above as intervals, with the part of the axis where the claim expects them." loading="lazy"></picture>`,
    '</details>',
    '</div>',
  ].join('\n')
}

function answerOf(
  { statement, paper, about, effects, controls, isRatio, inNats, name }: ShownClaim,
  { sets, tested }: ShownClaims,
): string {
  const unit = isRatio
    ? 'ratio of steps; below 1 is better'
    : inNats
      ? 'nats a token; negative is better'
      : 'nats a token for each doubling; negative is better'
  const rows = [
    ...effects.map(({ set, value, interval, answerText }) => [sets[set] ?? '', `${value} (${interval})`, answerText]),
    ...controls.map(({ name, value, interval, answer }) => [name, `${value} (${interval})`, answer]),
  ]
  return [
    `<p><b>${escapeXml(paper === 'reported' ? 'Reported' : `${paper} claims`)}:</b> “${escapeXml(statement)}”. <b>Here</b>, ${escapeXml(about)} (${unit}):</p>`,
    `<div class="table" role="group" aria-label="${escapeXml(name)}" tabindex="0"><table><thead><tr><th>Runs</th><th>Effect, 95 % interval</th><th>Answer</th></tr></thead><tbody>`,
    ...rows.map((cells) => `<tr>${cells.map((cell) => `<td>${escapeXml(cell)}</td>`).join('')}</tr>`),
    '</tbody></table></div>',
    ...(rows.some((cells) => cells.at(-1)?.endsWith('°'))
      ? [`<p class="aside">°: the answer does not survive Holm's correction for all ${tested} claims of the study.</p>`]
      : []),
  ].join('\n')
}

/** A link that opens a lesson of `choir play` with its settings. */
function playLink(title: string): string {
  const lesson = lessons.find((each) => each.title === title)
  if (!lesson) throw new Error(`internal: choir play has no lesson “${title}”`)
  const query = escapeXml(queryOf(settingOf(lesson.a), settingOf(lesson.b)))
  return `<a class="train" href="play/index.html${query}">Train it in this browser</a>`
}
