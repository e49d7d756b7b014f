/** A message in place of content that cannot be shown (yet): why, and what to do. */
import type { ComponentChildren } from 'preact'

interface MessageProps {
  readonly title: string
  readonly children?: ComponentChildren
  /** Reports a failure: screen readers read it out at once. */
  readonly bad?: boolean
}

export function Message({ title, children, bad }: MessageProps) {
  return (
    <div class={bad ? 'message message-bad' : 'message'} role={bad ? 'alert' : 'status'}>
      <p class="message-title">{title}</p>
      {children && <div class="message-text">{children}</div>}
    </div>
  )
}
