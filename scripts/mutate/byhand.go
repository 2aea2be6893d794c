package main

var byHand = []mutant{}
