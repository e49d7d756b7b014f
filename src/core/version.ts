/** The version in package.json. It is spelt out, because a browser cannot read that file; a test compares the two. */
export const version = (): string => '0.1.0'
