/** Server-sent events of a stream, which are made as fast as the client reads them. */
import { apiErrorOf, bodyOf } from './api-error.ts'

/**
 * A response with an event for each object, and `[DONE]` at the end. After an error the last event has its message.
 * @param onLeave Called when the client has left.
 */
export function eventStream(objects: AsyncGenerator<object, void>, onLeave: () => void): Response {
  const utf8 = new TextEncoder()
  const event = (data: string) => utf8.encode(`data: ${data}\n\n`)
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const { done, value } = await objects.next()
          controller.enqueue(event(done ? '[DONE]' : JSON.stringify(value)))
          if (done) controller.close()
        } catch (error) {
          controller.enqueue(event(JSON.stringify(bodyOf(apiErrorOf(error)))))
          controller.close()
        }
      },
      cancel() {
        onLeave()
        void objects.return()
      },
    },
    { highWaterMark: 0 },
  )
  const headers = { 'content-type': 'text/event-stream', 'cache-control': 'no-cache', 'x-accel-buffering': 'no' }
  return new Response(body, { headers })
}
