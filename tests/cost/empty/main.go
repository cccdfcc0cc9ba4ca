// Command empty does nothing. What its start costs, every Go program pays.
package main

func main() {}
