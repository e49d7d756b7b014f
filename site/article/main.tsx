/** Entry point of the article: its pictures, and the guesses of a reader. */
import { effect } from '@preact/signals'
import { render } from 'preact'
import { Balancing } from '../../web/share/balancing.tsx'
import { followAddress } from '../../web/src/shared/view-state.ts'
import './article.css'
import { Explore } from './explore.tsx'
import { balancing, recorded } from './recorded.ts'
import { type Guess, guessOf, type Picture } from './state.ts'

for (const place of document.querySelectorAll<HTMLElement>('[data-explore]')) {
  place.replaceChildren()
  render(<Explore picture={place.dataset.explore as Picture} runs={recorded} />, place)
}

const replay = document.getElementById('balancing')
if (replay) {
  replay.replaceChildren()
  render(<Balancing off={balancing.off} on={balancing.on} plays={false} />, replay)
}

const said: Readonly<Record<Guess, string>> = {
  holds: 'it is true here',
  'does not hold': 'it is not true here',
  undecided: 'the study cannot tell',
}

for (const place of document.querySelectorAll<HTMLElement>('.guess')) {
  const guess = guessOf(place.dataset.lesson ?? '')
  const answer = place.dataset.answer as Guess
  // The mark of an answer that does not survive the correction for all claims.
  const found = `${said[answer]}${place.dataset.mark ?? ''}.`
  const [question, result, details] = [
    place.querySelector('fieldset'),
    place.querySelector('.guess-result'),
    place.querySelector('details'),
  ]
  if (!question || !result || !details) continue
  question.hidden = false
  const choices = [...question.querySelectorAll('input')]
  for (const choice of choices) choice.addEventListener('change', () => (guess.value = choice.value as Guess))
  effect(() => {
    const chosen = guess.value
    for (const choice of choices) choice.checked = choice.value === chosen
    result.textContent =
      chosen === 'none'
        ? ''
        : chosen === answer
          ? `As you guessed, ${found}`
          : `You guessed that ${said[chosen]}. The answer: ${found}`
    if (chosen !== 'none') details.open = true
  })
}
followAddress()
