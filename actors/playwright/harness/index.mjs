import wrapped from './index.js';

export const { test, expect, chromium, devices, request, defineConfig, selectors, mergeTests, mergeExpects } = wrapped;
export default test;
