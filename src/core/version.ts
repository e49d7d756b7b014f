/** The version in package.json. Spelt out, because a browser cannot read that file; a test compares the two. */
export const version = (): string => '0.1.0'
