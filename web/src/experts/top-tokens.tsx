/** The tokens that come to an expert most often, asked of the run's newest checkpoint. */

import { grouped, percent } from '../../../src/text/numbers.ts'
import type { TopTokens as Answered, RunSummary, TopTokensRequest } from '../../../src/watch/api.ts'
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
    postJson<Answered>('/api/top-tokens', { run: run.id, router, expert } satisfies TopTokensRequest, signal),
  )
  if (!run.traceable)
    return (
      <Message title="No checkpoint yet">
        Tokens are looked up with the weights of a checkpoint. The first one comes after{' '}
        <code>train.checkpointEvery</code> steps, or when the run ends.
      </Message>
    )
  if (problem !== null)
    return (
      <Message bad title="The tokens could not be looked up">
        {problem}
      </Message>
    )
  if (value === null) return <Message title="Looking through held-out text…" />
  if (value.tokens.length === 0)
    return <Message title="No token came here">Of {grouped(value.looked)} tokens, none chose this expert.</Message>
  const most = value.tokens[0]?.count ?? 1
  return (
    <>
      <p class="quiet">
        At step {grouped(value.step)}, {grouped(value.assigned)} assignments came here, of {grouped(value.looked)}{' '}
        tokens of held-out text.
      </p>
      <table class="top-tokens">
        <thead>
          <tr>
            <th scope="col">Token</th>
            <th scope="col">Count</th>
            <th scope="col" title="Of all occurrences of the token, how many came to this expert">
              Share
            </th>
            <th
              scope="col"
              title="How many times more often the token comes here than tokens do in general. 1: it means nothing to this expert."
            >
              Lift
            </th>
          </tr>
        </thead>
        <tbody>
          {value.tokens.map(({ token, count: times, share, lift }) => (
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
                <i class="bar" style={{ width: `${(100 * times) / most}%` }} />
                <span>{grouped(times)}</span>
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
