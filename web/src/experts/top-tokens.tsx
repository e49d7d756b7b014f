/** The tokens that an expert gets most often, computed from the run's newest checkpoint. */

import { grouped, percent } from '../../../src/core/text/numbers.ts'
import type { RunSummary, TopTokens as TopTokensAnswer, TopTokensRequest } from '../../../src/faces/watch/api.ts'
import { postJson } from '../client.ts'
import { Message } from '../controls/message.tsx'
import { piecesOf } from '../tokens/pieces.ts'
import { useAnswer } from '../use-answer.ts'

interface TopTokensProps {
  readonly run: RunSummary
  readonly router: number
  readonly expert: number
}

export function TopTokens({ run, router, expert }: TopTokensProps) {
  const key = run.traceable ? `${run.id}:${router}:${expert}` : null
  const { value, problem } = useAnswer(key, run.checkpoint, (signal) =>
    postJson<TopTokensAnswer>('/api/top-tokens', { run: run.id, router, expert } satisfies TopTokensRequest, signal),
  )
  if (!run.traceable)
    return (
      <Message title="No checkpoint yet">
        Tokens are routed with the weights of a checkpoint. The first one is written after{' '}
        <code>train.checkpointEvery</code> steps, or when the run ends.
      </Message>
    )
  if (problem !== null)
    return (
      <Message bad title="The tokens could not be computed">
        {problem}
      </Message>
    )
  if (value === null) return <Message title="Routing held-out text…" />
  if (value.tokens.length === 0)
    return <Message title="No tokens came here">None of {grouped(value.looked)} tokens chose this expert.</Message>
  const maxCount = value.tokens[0]?.count ?? 1
  return (
    <>
      <p class="quiet">
        At step {grouped(value.step)}, {grouped(value.assigned)} assignments came here, of {grouped(value.looked)}{' '}
        tokens of held-out text (text that is not trained on).
      </p>
      <table class="top-tokens">
        <thead>
          <tr>
            <th scope="col">Token</th>
            <th scope="col">Count</th>
            <th scope="col" title="Share of all occurrences of the token that came to this expert">
              Share
            </th>
            <th
              scope="col"
              title="How many times more often this token comes here than tokens in general. 1: the expert has no preference for it."
            >
              Lift
            </th>
          </tr>
        </thead>
        <tbody>
          {value.tokens.map(({ token, count, share, lift }) => (
            <tr key={token}>
              <th scope="row">
                <code>
                  {piecesOf(token).map(({ text, sign }, index) => (
                    <span key={index} class={sign ? 'sign' : ''}>
                      {text === ' ' ? '␣' : text.replace('\n', '')}
                    </span>
                  ))}
                </code>
              </th>
              <td>
                <i class="bar" style={{ width: `${(100 * count) / maxCount}%` }} />
                <span>{grouped(count)}</span>
              </td>
              <td>
                <i class="bar" style={{ width: `${100 * share}%` }} />
                <span>{percent(share)}</span>
              </td>
              <td>{lift.toFixed(1)}×</td>
            </tr>
          ))}
        </tbody>
      </table>
    </>
  )
}
